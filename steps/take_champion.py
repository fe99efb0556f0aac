"""Take the model that is the champion as it is, where it was promoted before."""

from kfp import dsl
from kfp.dsl import Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.champions")
@dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("google-cloud-storage"))
def take_champion(champion: str, model: Output[Model]) -> str:
    """Hand on the model that is the champion.

    Args:
        champion: Path or gs:// address of champion.json.

    Returns:
        model: The folder of the model, where it lies, with the SHA-256 of its file in the metadata.
        Output: promoted, as promote_model said of it.
    """
    from steps.champions import current

    folder, sha256 = current(champion)
    model.uri = folder
    model.metadata.update(file="model.joblib", sha256=sha256)
    print(folder)
    return "promoted"

"""Find what an identifier has on Vertex AI already: its model, or its endpoint."""

from typing import Dict

from kfp import dsl
from kfp.dsl import OutputPath

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships

NONE = "none"  # what is found where there is nothing; a text, as a service may hand no empty one on


@ships("steps.vertex_api")
@dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("google-auth", "requests"))
def find_resource(api: str, parent: str, kind: str, labels: Dict[str, str], uri: OutputPath(str)) -> str:  # type: ignore[valid-type]
    """Find a model or an endpoint by its labels.

    The service names a model by a number of its own, and ModelUploadOp cannot ask for another name: labels are what it
    is found by. Where two runs at once have made two, the older one is taken from then on.

    Args:
        api: Address of Vertex AI in the region.
        parent: Project and region, as projects/P/locations/L.
        kind: models or endpoints.
        labels: Labels that it must have, all of them.

    Returns:
        uri: Its address; none where there is none.
        Output: Its name, as projects/P/locations/L/models/M; none where there is none.
    """
    from pathlib import Path

    from steps.vertex_api import VertexApi

    service = VertexApi(api)
    found = service.listed(parent, kind, labels)
    names: list[str] = [each["name"] for each in found] or ["none"]
    print(f"{kind}: {', '.join(names)}")
    Path(uri).parent.mkdir(parents=True, exist_ok=True)
    Path(uri).write_text(service.url(names[0]) if found else "none", encoding="utf-8")
    return names[0]

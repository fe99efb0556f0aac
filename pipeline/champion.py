"""The champion as it is, to be registered and deployed without a training: after a rollback, a promotion by hand, or a
run that promoted its model and could not register it.
"""

from kfp import dsl

from steps.take_champion import take_champion


@dsl.pipeline(name="covertype-champion", display_name="Forest cover champion")
def champion(champion: str) -> None:
    """Take the champion of the identifier.

    Args:
        champion: Path or gs:// address of champion.json.
    """
    taken = take_champion(champion=champion)
    taken.set_display_name("Take champion")
    taken.set_caching_options(False)  # it may be another each time

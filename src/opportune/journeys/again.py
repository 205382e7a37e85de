"""Who may set out (again), and which of two instances of one key goes on when their customers turn out to be one."""

from collections.abc import Iterable
from datetime import datetime

from opportune.domain.journeys import Ending, Instance
from opportune.playbook.journeys import Journey


def may_set_out(journey: Journey, before: Iterable[Instance], now: datetime) -> bool:
    """Whether a key may come (again). `before`: what there is and was of it; what a merge ended does not count."""
    return all(
        other.ended_at is not None and (other.ending is Ending.MERGED or _lets_again(journey, other.ended_at, now))
        for other in before
    )


def _lets_again(journey: Journey, ended_at: datetime, now: datetime) -> bool:
    if isinstance(journey.reentry, str):
        return journey.reentry == "always"
    return now >= ended_at + journey.reentry


def gives_way(one: Instance, other: Instance, journey: Journey | None) -> bool:
    """Whether a running instance stops for one of the same key that came from the other customer.

    While both were on the way the further one goes on. One that had ended before keeps out whom `reentry` keeps out
    (`journey` null: nobody).
    """
    if other.ending is Ending.MERGED:
        return False
    if other.ended_at is None or other.ended_at > one.started_at:
        return how_far(one) < how_far(other)
    return journey is not None and not _lets_again(journey, other.ended_at, one.started_at)


def how_far(one: Instance) -> tuple[int, int, float, str]:
    """Of two instances of one key the larger has come further: more said, more steps, longer on the way."""
    return len(one.message_ids), one.n_taken, -one.started_at.timestamp(), one.instance_id

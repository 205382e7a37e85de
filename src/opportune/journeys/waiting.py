"""How long a wait lasts, to the hour of the customer's clock."""

from datetime import UTC, datetime, timedelta, tzinfo

from opportune.playbook.journeys import Pause


def wait_end(now: datetime, pause: Pause, zone: tzinfo) -> datetime:
    """When the wait is over: `for` from now, then the next `until` on the customer's clock.

    An hour that a clock change skips comes as much later as the clock jumped; one that comes twice counts the first
    time. Without `for`, an `until` that is just now means tomorrow's.
    """
    base = now if pause.for_ is None else now + pause.for_
    if pause.until is None:
        return base
    day = base.astimezone(zone).date() - timedelta(days=1)
    while True:
        at = datetime.combine(day, pause.until, tzinfo=zone).astimezone(UTC)
        if at > base or (at == base and pause.for_ is not None):
            return at
        day += timedelta(days=1)

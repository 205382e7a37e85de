"""Files come in: batches of events and dead letters, each its own transactions, with counts of what became of them."""

from collections.abc import Callable, Iterable

from opportune.domain.events import DeadLetter, Event
from opportune.flows.ingest import ingest
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger


def take_in(
    batches: Iterable[tuple[list[Event], list[DeadLetter]]],
    ledger: Ledger,
    playbook: Playbook,
    clock: Clock,
    count: Callable[[int], None] = lambda n: None,
) -> dict[str, int]:
    """Import batches; `count` hears how many were read so far. Returns counts of events. Raises Unavailable."""
    report = {"n_read": 0, "n_accepted": 0, "n_duplicate": 0, "n_refused": 0}
    for events, letters in batches:
        done = ingest(events, letters, ledger, playbook, clock)
        report["n_read"] += len(events) + len(letters)
        report["n_accepted"] += done.n_accepted
        report["n_duplicate"] += done.n_duplicate
        report["n_refused"] += len(letters)
        count(report["n_read"])
    return report

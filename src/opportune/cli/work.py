"""opportune work."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from opportune.cli.printing import say

if TYPE_CHECKING:
    from opportune.flows.work import Worker
    from opportune.wiring import Installation

_SLOW = ("archive", "publish", "fetch", "forget", "compact", "check features", "price", "tally")
#: What runs side by side: nobody's message waits for Feast's import, and nobody's event for a slow MLflow.
LANES = (("beat", "signs", "spread", "fire", "deliver"), ("look", "interest"), ("project", "name models"), _SLOW)


@click.command("work", epilog="Example:  opportune work      (serve starts one by itself)")
@click.option("--once", is_flag=True, help="Do all that is waiting, then stop.")
@click.option("--beside", type=int, default=None, hidden=True, help="Process id of the server that started us.")
def command(once: bool, beside: int | None) -> None:
    """Fire timers, deliver messages, project features, publish to archive and MLflow, fetch champions."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from opportune.wiring import Installation

    installation = Installation()
    worker = worker_of(installation)
    if once:
        worker.exhaust()
        failed = {name: duty.last_error for name, duty in worker.duties.items() if duty.last_error}
        if failed:
            raise click.ClickException("; ".join(f"{name}: {error}" for name, error in failed.items()))
        say("; ".join(f"{name} {duty.n_done:,}" for name, duty in worker.duties.items()))
        return
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    lanes = [threading.Thread(target=lane.run, args=(stop,), daemon=True) for lane in worker.lanes(*LANES)]
    for lane in lanes:
        lane.start()
    while not stop.wait(0.2):
        if beside is not None and os.getppid() != beside:
            stop.set()  # the server that started us is gone, perhaps before we were up: never outlive it
    for lane in lanes:
        lane.join(10)
    installation.close()


def worker_of(installation: "Installation") -> "Worker":
    """The duties of a worker over one installation, the urgent ones first."""
    from opportune.adapters.system_clock import WallClock
    from opportune.cli.publish import publish_all
    from opportune.flows.beat import beat
    from opportune.flows.consistency import check_new
    from opportune.flows.deliver import deliver
    from opportune.flows.fetch import fetch_champions
    from opportune.flows.fire import fire
    from opportune.flows.forget import forget_answers
    from opportune.flows.health import forget_signs, note_signs
    from opportune.flows.nightly import pass_night
    from opportune.flows.note import forget_interest, note_interest
    from opportune.flows.price import price
    from opportune.flows.project import project
    from opportune.flows.publish import archive_events, compact_archive
    from opportune.flows.replay import TurnTaken, anything_due, turn
    from opportune.flows.serve_models import serve_models
    from opportune.flows.spread import spread
    from opportune.flows.sweep import look_round
    from opportune.flows.tally import tally
    from opportune.flows.work import Duty, Worker
    from opportune.wiring import MODEL_NAMES

    i = installation
    assert i.desk  # made once, before any lane asks for it

    def fetched() -> int:
        i.scorer.refresh()
        n = len(fetch_champions(MODEL_NAMES, i.runlog, i.shelf, broken=i.scorer.failures))
        i.scorer.refresh()
        return n

    def fired() -> int:
        return fire(i.desk, i.owner).n_claimed

    def looked() -> int:
        return look_round(i.desk, i.owner)

    def delivered() -> int:
        return deliver(i.ledger, i.playbook, i.courier, i.clock, secret=i.secret).n_claimed

    def in_turn(duty: Callable[[], int]) -> Callable[[], int]:
        """On the replay clock, what is due happens only while nobody else makes time pass."""
        if i.settings.clock != "replay":
            return duty

        def run() -> int:
            if not anything_due(i.ledger, i.playbook, i.clock.now()):
                return 0
            try:
                with turn(i.ledger, f"{i.owner}:{threading.get_ident()}", i.wall):
                    return duty()
            except TurnTaken:
                return 0

        return run

    def priced() -> int:
        if i.settings.clock == "replay":  # at midnights alone, with the records: see nightly.py
            return pass_night(i.ledger, i.playbook, i.clock, i.owner)
        return price(i.ledger, i.playbook, i.clock, i.owner)

    def tallied() -> int:
        return 0 if i.settings.clock == "replay" else tally(i.ledger, i.playbook, i.clock, i.owner)

    def forgot() -> int:
        forget_signs(i.ledger, i.clock)
        forget_interest(i.ledger, i.playbook, i.clock)
        return forget_answers(i.ledger, i.clock)

    verified: list[int] = []
    named: set[str] = set()

    def projected() -> int:
        if not verified:  # the direct reader is held against Feast's own before anything is written for it to read
            with i.ledger.read() as uow:
                ids, waiting = uow.customers.all_ids("", 20), uow.outbox.depth("project")
            if not waiting:
                return 0
            verified.append(i.feast.verify(ids))
        return project(i.ledger, i.features, i.clock, i.owner)

    def checked() -> int:
        found = check_new(i.ledger, i.offline, i.runlog, i.clock, i.owner, i.settings.consistency_rate)
        if found is not None and found.consistency.is_alarming:
            logging.getLogger("opportune.consistency").error(found.to_text())
        return 0

    def compacted() -> int:
        compact_archive(i.ledger, i.archive, i.clock, i.owner, min_files=64)
        return 0

    return Worker(
        duties={
            "signs": Duty(lambda: note_signs(i.ledger, i.playbook), every_s=1.0),
            "interest": Duty(lambda: note_interest(i.ledger, i.playbook), every_s=5.0),
            "spread": Duty(in_turn(lambda: spread(i.ledger, i.playbook, i.clock)), every_s=0.2),
            "fire": Duty(in_turn(fired), every_s=0.1),
            "look": Duty(in_turn(looked), every_s=0.2),
            "deliver": Duty(in_turn(delivered), every_s=0.2),
            "project": Duty(projected, every_s=0.05),
            "archive": Duty(lambda: archive_events(i.ledger, i.archive, i.clock, i.owner), every_s=30.0),
            "publish": Duty(lambda: sum(publish_all(i)), every_s=30.0),
            "forget": Duty(forgot, every_s=3600.0),
            "fetch": Duty(fetched, every_s=5.0),
            "beat": Duty(lambda: beat(i.ledger, WallClock(), i.owner), every_s=15.0),
            "name models": Duty(lambda: serve_models(MODEL_NAMES, i.shelf, i.feast, named), every_s=5.0),
            "price": Duty(in_turn(priced), every_s=300.0),
            "tally": Duty(tallied, every_s=300.0),
            "compact": Duty(compacted, every_s=3600.0),
            "check features": Duty(checked, every_s=3600.0, next_at=time.monotonic() + 600.0),
        }
    )


def project_all(installation: "Installation") -> int:
    """Bring the online store up to the ledger; returns how many states were written."""
    from opportune.flows.project import project

    i = installation
    n = 0
    while done := project(i.ledger, i.features, i.clock, i.owner):
        n += done
    return n


if __name__ == "__main__":
    command()

"""A worker that is made to be killed: fires timers and hands messages over, and writes down every hand-off.

Its clock is ahead of the wall's, so that what its killed forerunners had claimed is free again. One line in
`folder`/handed for each hand-off.
"""

import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.desks import desk_of

from opportune.adapters.file_courier import FileCourier
from opportune.adapters.sql_ledger import SqlLedger
from opportune.domain.messages import Send
from opportune.flows.deliver import deliver
from opportune.flows.fire import fire
from opportune.flows.work import Duty, Worker
from opportune.playbook.load import load


class SkewedClock:
    """The wall's time, ahead of it."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead


class NotingCourier:
    """The file sink; every hand-off is on the disk's own record before anybody hears of it."""

    def __init__(self, folder: Path) -> None:
        self._files = FileCourier(folder / "sent")
        self._record = os.open(folder / "handed", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def deliver(self, sends: Sequence[Send], at: datetime) -> None:
        self._files.deliver(sends, at)
        os.write(self._record, "".join(f"{send.message_id}\n" for send in sends).encode())


def work(url: str, folder: Path, skew_s: float) -> None:
    """Work until killed. The playbook is in `folder`/playbook."""
    clock = SkewedClock(timedelta(seconds=skew_s))
    ledger = SqlLedger(url, migrate=False)
    playbook = load(folder / "playbook")
    desk = desk_of(playbook, ledger, clock)
    courier, owner = NotingCourier(folder), f"mortal:{os.getpid()}"
    Worker(
        duties={
            "fire": Duty(lambda: fire(desk, owner).n_claimed, every_s=0.05),
            "deliver": Duty(lambda: deliver(ledger, playbook, courier, clock).n_claimed, every_s=0.05),
        },
        backoff_s=0.2,
    ).run(threading.Event())

"""The worker's round: fire timers, deliver messages, project features, publish, fetch champions."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from opportune.ports import Unavailable

log = logging.getLogger("opportune.work")

#: Duties asked so often pass work on to each other: news, looks, timers, messages, projections.
QUICK_S = 1.0


@dataclass(slots=True)
class Duty:
    """One thing the worker does again and again. `run` returns how much it did; 0 means nothing was waiting."""

    run: Callable[[], int]
    every_s: float
    next_at: float = 0.0
    n_done: int = 0
    last_error: str | None = None


@dataclass(slots=True)
class Worker:
    """Runs duties when their time has come. A duty that fails waits and is tried again; the others go on."""

    duties: Mapping[str, Duty]
    backoff_s: float = 5.0
    monotonic: Callable[[], float] = time.monotonic
    failures: dict[str, int] = field(default_factory=dict)

    def round(self) -> int:
        """Run every duty that is due once; returns how much was done in all."""
        total = 0
        for name, duty in self.duties.items():
            if self.monotonic() < duty.next_at:
                continue
            try:
                n = duty.run()
            except Unavailable as problem:
                self._failed(name, duty, problem)
                log.warning("%s waits: %s", name, problem)
                continue
            except Exception as problem:
                self._failed(name, duty, problem)
                log.exception("%s failed; trying again in %.0f s", name, self.backoff_s)
                continue
            duty.last_error = None
            duty.n_done += n
            total += n
            duty.next_at = self.monotonic() + (0.0 if n else duty.every_s)
        return total

    def exhaust(self) -> None:
        """Rounds until nothing is waiting. What one duty did may be another's work: the quick ones are asked again."""
        while self.round():
            for duty in self.duties.values():
                if duty.every_s <= QUICK_S and duty.last_error is None:
                    duty.next_at = 0.0

    def lanes(self, *names: tuple[str, ...]) -> "list[Worker]":
        """The same duties in several workers, to run side by side: a slow one then holds up only its own lane."""
        return [Worker({n: self.duties[n] for n in lane}, self.backoff_s, self.monotonic) for lane in names]

    def run(self, stop: threading.Event, pause_s: float = 0.05) -> None:
        """Rounds until told to stop."""
        while not stop.is_set():
            if not self.round():
                stop.wait(pause_s)

    def _failed(self, name: str, duty: Duty, problem: Exception) -> None:
        duty.last_error = str(problem)
        self.failures[name] = self.failures.get(name, 0) + 1
        duty.next_at = self.monotonic() + self.backoff_s

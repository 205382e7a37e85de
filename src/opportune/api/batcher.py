"""Group commit: what waits is handed to a flow together, by one worker thread per kind.

A flow takes a batch and commits once. While one batch is being worked on the next one gathers by itself, so
the group grows with the load. Who was just answered often asks again at once: the worker lingers for them, at most
a small part of the time the last call took, so that callers do not split into two groups that take turns.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from opportune.ports import Unavailable

log = logging.getLogger("opportune.api")

#: How long a worker lingers for those it just answered: a share of the last call, and never longer than this.
LINGER_SHARE, LINGER_AT_MOST_S = 0.15, 0.002

In = TypeVar("In")
Out = TypeVar("Out")


class Full(Exception):
    """Too much is waiting, or the server is stopping: nothing was taken on; try again later."""


@dataclass(slots=True, eq=False)
class _Job(Generic[In, Out]):
    item: In
    weight: int
    lane: str
    future: "asyncio.Future[Out]"
    outcome: "Out | BaseException | None" = None


#: Nothing came in time.
_NONE: _Job[Any, Any] = object.__new__(_Job)


class Batcher(Generic[In, Out]):
    """One worker thread that calls `run` with everything waiting, at most `max_weight` at a time.

    `run` answers one result per item, in order. When it raises, the items are tried one by one, so that a bad one
    fails alone; Unavailable fails all at once (the part behind is down, and nothing was written).
    Items of different lanes never share a call. At most `max_waiting` of weight is taken on.
    `on_batch(n_items)` is told the size of every call. Used from one event loop.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[In]], Sequence[Out]],
        *,
        max_weight: int,
        max_waiting: int,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        self._name, self._run, self._on_batch = name, run, on_batch
        self._max_weight, self._max_waiting = max_weight, max_waiting
        self._jobs: queue.SimpleQueue[_Job[In, Out] | None] = queue.SimpleQueue()
        self._gathered: list[_Job[In, Out]] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closing = False
        self.waiting = 0

    @property
    def is_alive(self) -> bool:
        """True while the worker takes jobs."""
        return not self._is_closing and (self._thread is None or self._thread.is_alive())

    def submit(self, item: In, weight: int = 1, lane: str = "") -> "asyncio.Future[Out]":
        """Queue one item; the future holds its result. Raises Full."""
        if self._is_closing:
            raise Full("the server is stopping")
        if self.waiting and self.waiting + weight > self._max_waiting:
            raise Full(f"too many {self._name} requests are waiting")
        loop = self._loop or self._start()
        job: _Job[In, Out] = _Job(item, weight, lane, loop.create_future())
        self.waiting += weight
        if not self._gathered:
            loop.call_soon(self._flush)  # all requests of one turn of the loop reach the worker together
        self._gathered.append(job)
        return job.future

    async def close(self) -> None:
        """Take on nothing more, finish what waits, stop the thread."""
        self._is_closing = True
        self._flush()
        self._jobs.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name=f"opportune-{self._name}", daemon=True)
        self._thread.start()
        return self._loop

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        for job in gathered:
            self._jobs.put(job)

    def _work(self) -> None:
        carried: _Job[In, Out] | None = None
        is_last = False
        n_expected, linger_s = 1, 0.0
        while carried is not None or not is_last:
            asked_at = time.perf_counter()
            first = carried or self._jobs.get()
            carried = None
            if first is None:
                return
            began_at = time.perf_counter()
            until = began_at + linger_s if began_at - asked_at <= linger_s else began_at  # after a lull: at once
            batch, weight = [first], first.weight
            while weight < self._max_weight and not is_last:
                job = self._next(until if len(batch) < n_expected else None)
                if job is _NONE:
                    break
                if job is None:
                    is_last = True
                elif job.lane != first.lane or weight + job.weight > self._max_weight:
                    carried = job
                    break
                else:
                    batch.append(job)
                    weight += job.weight
            took_s = self._settle(batch)
            n_expected = len(batch) + self._jobs.qsize()
            linger_s = min(LINGER_SHARE * took_s, LINGER_AT_MOST_S)

    def _next(self, until: float | None) -> "_Job[In, Out] | None":
        """The next job there is, or that comes by `until`; `_NONE` when there is none."""
        try:
            left_s = 0.0 if until is None else until - time.perf_counter()
            return self._jobs.get(timeout=left_s) if left_s > 0 else self._jobs.get_nowait()
        except queue.Empty:
            return _NONE

    def _settle(self, batch: list[_Job[In, Out]]) -> float:
        """Work the batch and hand the results back; returns the seconds it took."""
        began_at = time.perf_counter()
        live = [job for job in batch if not job.future.cancelled()]
        if live:
            if self._on_batch:
                self._on_batch(len(live))
            for job, outcome in zip(live, self._outcomes([job.item for job in live]), strict=True):
                job.outcome = outcome
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._hand_back, batch)
        except RuntimeError:  # the loop is closed: whoever asked is gone
            log.warning("%d %s results had nobody left to go to", len(batch), self._name)
        return time.perf_counter() - began_at

    def _outcomes(self, items: list[In]) -> Sequence[Out | BaseException]:
        try:
            results = self._run(items)
            if len(results) != len(items):
                raise RuntimeError(f"{self._name}: {len(results)} results for {len(items)} items")
            return results
        except Unavailable as problem:
            return [problem] * len(items)
        except Exception as problem:  # noqa: BLE001 - every error belongs to the request that caused it
            if len(items) == 1:
                return [problem]
            log.warning("a batch of %d %s failed (%s); trying one by one", len(items), self._name, problem)
            return [self._outcomes([item])[0] for item in items]

    def _hand_back(self, batch: list[_Job[In, Out]]) -> None:
        for job in batch:
            self.waiting -= job.weight
            if job.future.done():
                continue
            if isinstance(job.outcome, BaseException):
                job.future.set_exception(job.outcome)
            else:
                job.future.set_result(job.outcome)  # type: ignore[arg-type]

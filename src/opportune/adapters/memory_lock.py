"""A fair lock for threads of one process: first come, first served, so that nobody polls or starves."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from opportune.ports import Unavailable


class FairLock:
    """Hands itself over in the order of asking. Not re-entrant: asking twice in one thread is an error."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._is_held = False
        self._holder: int | None = None

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Hold the lock for the block. Raises Unavailable after `timeout_s`, RuntimeError when this thread has it."""
        me = threading.get_ident()
        with self._guard:
            if self._holder == me:
                raise RuntimeError("begin() inside begin(): one thread holds one writing transaction at a time")
            mine: threading.Lock | None = None
            if self._is_held:
                mine = threading.Lock()
                mine.acquire()
                self._waiting.append(mine)
            else:
                self._is_held, self._holder = True, me
        if mine is not None:
            self._await(mine, timeout_s)
            self._holder = me
        try:
            yield
        finally:
            self._hand_over()

    def _await(self, mine: threading.Lock, timeout_s: float) -> None:
        if mine.acquire(timeout=timeout_s):
            return
        with self._guard:
            if mine in self._waiting:
                self._waiting.remove(mine)
                raise Unavailable(f"the ledger stayed locked for {timeout_s:g} s: try again")
        # Handed over in the very moment of giving up: take it.

    def _hand_over(self) -> None:
        with self._guard:
            self._holder = None
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_held = False

"""How fast events may come in: a token bucket per process."""

import time
from collections.abc import Callable


class TokenBucket:
    """`per_s` tokens a second, saved up to `burst`. `per_s` null: no limit."""

    def __init__(
        self, per_s: float | None, burst: float = 2500, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s, self._monotonic = per_s, monotonic
        self._burst = max(burst, per_s or 0)
        self._tokens, self._at = self._burst, monotonic()

    def take(self, n: int) -> float:
        """Take `n` tokens; returns 0, or (nothing taken) the seconds after which to ask again."""
        if self._per_s is None:
            return 0.0
        now = self._monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        wanted = min(n, self._burst)  # a request larger than the bucket passes when the bucket is full
        if self._tokens >= wanted:
            self._tokens -= wanted
            return 0.0
        return (wanted - self._tokens) / self._per_s

"""Clocks: the wall, and the replay clock kept in the ledger."""

import threading
from datetime import UTC, datetime

from opportune.domain.instants import format_instant, parse_instant
from opportune.ports import Ledger

REPLAY_CURSOR = "replay_clock"


class WallClock:
    """Real time."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)


class ReplayClock:
    """Now is an instant in the ledger that only moves when an admin moves it, forward. Starts at the wall's now."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Aware UTC, the same for every process on the ledger."""
        with self._ledger.read() as uow:
            kept = uow.cursors.get(REPLAY_CURSOR)
        return parse_instant(kept) if kept else datetime.now(UTC)

    def start(self, at: datetime) -> bool:
        """Set it when it was never set; false, and nothing done, when it was."""
        with self._lock, self._ledger.begin() as uow:
            if uow.cursors.get(REPLAY_CURSOR) is not None:
                return False
            uow.cursors.put(REPLAY_CURSOR, format_instant(at))
        return True

    def advance(self, to: datetime) -> datetime:
        """Move forward to `to`; returns the instant now in force. Raises ValueError when `to` is earlier."""
        with self._lock, self._ledger.begin() as uow:
            kept = uow.cursors.get(REPLAY_CURSOR)
            if kept and to < parse_instant(kept):
                raise ValueError(f"the replay clock only moves forward: it stands at {kept}")
            uow.cursors.put(REPLAY_CURSOR, format_instant(to))
        return to


class FixedClock:
    """A clock for tests and dry runs: stands still until moved."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Aware UTC."""
        return self._at

    def start(self, at: datetime) -> bool:
        """It stands somewhere already: false."""
        return False

    def advance(self, to: datetime) -> datetime:
        """Move to `to`. Raises ValueError when it is earlier."""
        if to < self._at:
            raise ValueError(f"the clock only moves forward: it stands at {format_instant(self._at)}")
        self._at = to
        return to

"""Windows: (hour of (t - window), t], cut so that hourly tiles are exact at every instant.

Tile h holds the instants in (h, h + 1] hours since 1970: an event exactly on the old edge is out, one at t is in.
"""

from datetime import timedelta

from opportune.domain.instants import HOUR_US


def tile_of(us: int) -> int:
    """The tile an event instant falls into (microseconds since 1970 -> hours since 1970)."""
    return (us - 1) // HOUR_US


def first_tile(at_us: int, window_us: int) -> int:
    """The oldest tile inside the window that ends at `at_us`."""
    return (at_us - window_us) // HOUR_US


def old_edge(at_us: int, window_us: int) -> int:
    """The excluded old edge of the window in microseconds: an event counts when its instant is greater."""
    return first_tile(at_us, window_us) * HOUR_US


def width_us(window: timedelta) -> int:
    """Microseconds of a window."""
    return window // timedelta(microseconds=1)

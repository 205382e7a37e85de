"""`python -m benchmarks.parts`: what the pure parts of one decision cost, in microseconds, median of many runs."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

from opportune.domain.events import Event, EventKind, Origin
from opportune.features.state import empty, finalise, pack, unpack, update
from opportune.playbook.conditions import compile_condition


def micros(work: Callable[[], object], runs: int = 300) -> float:
    """Median microseconds of one call."""
    taken = []
    for _ in range(runs):
        before = time.perf_counter()
        work()
        taken.append((time.perf_counter() - before) * 1e6)
    return median(taken)


def main() -> None:
    """Print one line per part."""
    env = {"features": {"cart_value": 50.0}, "scores": {"purchase": 0.3}, "traits": {"country": "GB"}}
    text = "features.cart_value >= {n} and scores.purchase < 0.5 and traits.country in ['GB', 'IE']"
    conditions = [compile_condition(text.format(n=n)) for n in range(100)]
    plain = eval(  # the same conditions as a Python programmer would write them, without a word of safety
        "lambda f, s, t: ["
        + ", ".join(
            f"f.get('cart_value') >= {n} and s.get('purchase') < 0.5 and t.get('country') in ('GB', 'IE')"
            for n in range(100)
        )
        + "]"
    )
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    event = Event(
        message_id="m", kind=EventKind.TRACK, name="Product Viewed", user_id="c", anonymous_id=None, original_at=now,
        sent_at=now, received_at=now, event_at=now, known_at=now, ingested_at=now, origin=Origin.LIVE,
    )  # fmt: skip
    packed = pack(update(empty(), [event]))
    parts = {
        "100 conditions of three comparisons": lambda: [c.holds(env) for c in conditions],
        "the same 100 in plain Python": lambda: plain(env["features"], env["scores"], env["traits"]),
        "one event into a packed state": lambda: pack(update(unpack(packed), [event])),
        "all features of a packed state": lambda: finalise(unpack(packed), now),
    }
    for name, work in parts.items():
        print(f"{name:<40}{micros(work):>10.1f} us")


if __name__ == "__main__":
    main()

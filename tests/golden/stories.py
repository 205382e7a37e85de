"""The golden cases. After a change that is meant to change decisions, write them anew and read the difference:
`python -m tests.golden.stories`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from tests.unit.decision.making import NOW, case, consent, customer, firing, score, send, swapped

from opportune.decision import record
from opportune.decision.pipeline import decide
from opportune.domain.decisions import Ask, Case
from opportune.playbook.load import Playbook, load_files

HERE = Path(__file__).parent
DAY = timedelta(days=1)
PLAYBOOK = (
    swapped(
        (
            "    content: {inapp: {body: Plain}}",
            "    variants:\n      a: {weight: 3, content: {inapp: {body: A}}}\n      b: {content: {inapp: {body: B}}}",
        ),
        ("    value_minor: 9000", "    value_minor: 9000\n    when: scores.purchase >= 0.05\n    cooldown: 3d"),
    )
    + """
quiet_hours: {start: '21:00', end: '08:00'}
caps:
  week: {counts: {purpose: marketing}, at_most: 3, in: 7d, at_least_apart: 20h}
  offers_per_day: {counts: {topic: offers}, at_most: 1, in: calendar day}
exploration: {rate: 0.2}
max_messages: 2
"""
)


def golden_playbook() -> Playbook:
    """The playbook of all golden cases."""
    return load_files({"golden.yaml": PLAYBOOK.encode()})


def stories(book: Playbook) -> dict[str, Case]:
    """Name -> case."""
    before_change = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)  # London's clocks go forward in the night that follows
    full_week = tuple(send(NOW - k * DAY, k) for k in (1, 3, 5))
    held = {"global_holdout": "holdout"}
    return {
        "request": case(book),
        "request_explored": case(book, seed="e7"),
        "test_customer": case(book, who=customer(is_test=True)),
        "cart_through_the_night_of_a_clock_change": case(
            book, firing("cart", before_change, name="Shoe"), now=before_change
        ),
        "cart_zone_unknown": case(book, firing("cart", name="Shoe"), who=customer(timezone=None)),
        "capped": case(book, firing("cart"), sends=full_week),
        "placed_after_a_booking_ahead": case(book, firing("cart"), sends=(send(NOW + timedelta(hours=1)),)),
        "reset_through_everything": case(
            book,
            firing("reset", token="t0"),
            sends=full_week,
            consents=(consent("*", "*", "out", 1),),
            assignments=held,
        ),
        "holdout": case(book, assignments=held, who=customer(is_test=False)),
        "unsubscribed_but_for_news": case(
            book, consents=(consent("*", "*", "out", 9), consent("email", "news", "in", 2))
        ),
        "no_profiling": case(book, consents=(consent("profiling", "*", "out", 1),)),
        "worth_less_than_nothing": case(
            book, Ask(customer_id="c1", channels=("email",)), scores={"purchase": score(0.0001)}
        ),
        "best_hour_in_the_week_of_a_clock_change": case(
            book,
            now=before_change,
            scores={
                "purchase": score(0.1),
                "send_time": replace(
                    score(0.3, "send_time"),
                    hours=tuple(2.0 if hour == 9 else 0.9565 for hour in range(24)),
                    best_hour_local=9,
                    best_at=datetime(2026, 3, 29, 8, 0, tzinfo=UTC),
                ),
            },
        ),
        "cooling_down": case(book, sends=(send(NOW - 2 * DAY, campaign="big"),), degraded=True),
    }


def write() -> None:
    """Store every case with its decision."""
    book = golden_playbook()
    for name, told in stories(book).items():
        story = {
            "case": orjson.loads(record.case_to_json(told)),
            "decision": orjson.loads(record.decision_to_json(decide(told, book))),
        }
        path = HERE / "decisions" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(orjson.dumps(story, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    write()

"""Labels: the fast tally against the definition written out, and what may never leak into the past."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.learning.fakes import event

from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.learning.labels import LabelRow, Tally, cut_offs

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = "Order Completed"


def day(n: float) -> datetime:
    return T0 + timedelta(days=n)


def rows_of(
    events: list[Event], as_of: datetime, claims: list[Claim] | None = None, churn: bool = False, **over: int
) -> list[LabelRow]:
    cuts = cut_offs(as_of, over.get("horizon", 10), over.get("every", 7), over.get("at_most", 4))
    tally = Tally(
        cut_offs=cuts,
        as_of=as_of,
        horizon_days=over.get("horizon", 10),
        active_within_days=over.get("within", 20),
        activity=frozenset(),
        ignore=frozenset({"Email Opened"}),
    )
    for e in events:
        tally.add(e, None if churn else e.name == ORDER)
    return tally.rows(claims or [], over.get("history", 0), happens=not churn)


def test_cut_offs_are_matured_and_evenly_apart() -> None:
    """The newest cut-off lies exactly one horizon before the knowledge time."""
    assert cut_offs(day(60), 30, 10, 3) == [day(10), day(20), day(30)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from([ORDER, "Product Viewed", "Email Opened"]),
            st.integers(0, 60),
            st.integers(0, 15),
        ),
        max_size=40,
    ),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_rows_equal_the_definition_in_any_order(
    drawn: list[tuple[str, str, int, int]], random: object, churn: bool
) -> None:
    """Population and label are what the definition says, whatever the order in which events stream by."""
    events = [event(c, name, day(d), i, known_at=day(d + late)) for i, (c, name, d, late) in enumerate(drawn)]
    as_of = day(50)
    expected = []
    for cut in cut_offs(as_of, 10, 7, 4):
        if not any(e.event_at <= cut and e.event_at <= as_of and e.known_at <= as_of for e in events):
            continue  # nothing is known that far back: no history
        for c in "abc":
            mine = [e for e in events if e.user_id == c]
            active = any(
                cut - timedelta(days=20) < e.event_at <= cut and e.known_at <= cut and e.name != "Email Opened"
                for e in mine
            )
            later = {e.name for e in mine if cut < e.event_at <= cut + timedelta(days=10) and e.known_at <= as_of} - {
                "Email Opened"
            }
            if active:
                expected.append(LabelRow(customer_id=c, at=cut, is_reached=not later if churn else ORDER in later))
    random.shuffle(events)  # type: ignore[attr-defined]
    assert rows_of(events, as_of, churn=churn) == expected


def test_the_label_window_begins_strictly_after_the_cut_off() -> None:
    """An event at the cut-off is in the features and not in the label; one a moment later is in the label only."""
    cut = day(40)
    at_it = [event("a", "Product Viewed", cut)]
    assert rows_of(at_it, day(50), churn=True, at_most=1) == [LabelRow(customer_id="a", at=cut, is_reached=True)]
    after = [*at_it, event("a", "Product Viewed", cut + timedelta(microseconds=1), 1)]
    assert rows_of(after, day(50), churn=True, at_most=1) == [LabelRow(customer_id="a", at=cut, is_reached=False)]


def test_what_becomes_known_later_changes_nothing() -> None:
    """Events known after the knowledge time neither label nor admit anybody."""
    base = [event("a", "Product Viewed", day(30)), event("a", ORDER, day(45))]
    late = [event("a", ORDER, day(41), 1, known_at=day(51)), event("b", ORDER, day(30), 1, known_at=day(52))]
    assert rows_of(base, day(50)) == rows_of(base + late, day(50))


def test_an_order_under_an_identity_linked_later_counts() -> None:
    """The row carries the id of then; the label follows the person known at the end."""
    events = [event("anon:x", "Product Viewed", day(39)), event("u1", ORDER, day(45))]
    link = Claim(message_id="m", from_key="a:x", into_key="u:u1", is_alias=False, event_at=day(44), known_at=day(44))
    assert rows_of(events, day(50), [link], at_most=1) == [LabelRow(customer_id="anon:x", at=day(40), is_reached=True)]
    assert rows_of(events, day(50), [], at_most=1) == [LabelRow(customer_id="anon:x", at=day(40), is_reached=False)]


def test_cohorts_without_history_are_left_out() -> None:
    """A cut-off needs the declared days of events behind it."""
    events = [event("a", "Product Viewed", day(n)) for n in range(25, 50)]
    assert {row.at for row in rows_of(events, day(50), history=10)} == {day(40)}

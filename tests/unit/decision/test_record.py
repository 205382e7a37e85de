"""Cases and decisions as JSON: exact both ways; the API's shape; the send of a message."""

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decision.making import NOW, case, customer, firing, playbook, send

from opportune.decision import record
from opportune.decision.pipeline import decide
from opportune.domain.customers import Consent, ConsentState, Customer
from opportune.domain.decisions import (
    Ask,
    Case,
    Decision,
    Firing,
    Message,
    Mode,
    RankDraw,
    Reason,
    Removal,
    Score,
    ScoreReason,
    Stage,
)
from opportune.domain.instants import from_us
from opportune.domain.messages import Deliver, Send, SendState

text = st.text(st.characters(codec="utf-8"), max_size=8)
instants = st.integers(0, 4_000_000_000_000_000).map(from_us)
maybe_at = st.none() | instants
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(-(2**63), 2**63 - 1)
scalars = st.none() | st.booleans() | counts | numbers | text
json = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
objects = st.dictionaries(text, json, max_size=3)
values = scalars | st.lists(numbers, max_size=4).map(tuple)
tags = st.lists(text, max_size=2).map(tuple)
reasons = st.builds(ScoreReason, feature=text, value=values, effect=numbers, text=text)
scores = st.dictionaries(
    text,
    st.builds(Score, name=text, p=numbers, model=text, target=text, reasons=st.lists(reasons, max_size=2).map(tuple)),
    max_size=2,
)
firings = st.builds(Firing, trigger=text, key=text, due_at=instants, set_by=text, version=counts, properties=objects)
asks = st.builds(
    Ask,
    customer_id=text,
    at=maybe_at,
    channels=st.none() | tags,
    trigger=st.none() | text,
    context=objects,
    max_messages=st.none() | st.integers(1, 20),
    deliver=st.sampled_from(Deliver),
    dry_run=st.booleans(),
    explain=st.booleans(),
    firing=st.none() | firings,
)
customers = st.builds(
    Customer,
    customer_id=text,
    traits=objects,
    trait_stamps=st.dictionaries(text, st.tuples(counts, text), max_size=2),
    first_seen_at=maybe_at,
    last_seen_at=maybe_at,
)
consents = st.builds(
    Consent,
    consent_id=text,
    customer_id=text,
    channel=text,
    topic=text,
    state=st.sampled_from(ConsentState),
    at=instants,
    source=text,
    recorded_at=instants,
    proof=objects,
)
sends = st.builds(
    Send,
    message_id=text,
    customer_id=text,
    decision_id=text,
    rank=counts,
    campaign=text,
    trigger=text,
    channel=text,
    topic=text,
    purpose=text,
    variant=st.none() | text,
    tags=tags,
    state=st.sampled_from(SendState),
    deliver=st.sampled_from(Deliver),
    send_at=instants,
    expires_at=instants,
    reserved_at=instants,
    obeys_caps=st.booleans(),
    counts=st.booleans(),
    is_virtual=st.booleans(),
    payload=objects,
    trigger_key=st.none() | text,
    handed_off_at=maybe_at,
)
cases = st.builds(
    Case,
    decision_id=text,
    ask=asks,
    customer=customers,
    now=instants,
    playbook_hash=text,
    code_version=text,
    seed=text,
    features=st.dictionaries(text, values, max_size=4),
    features_version=counts,
    degraded=st.booleans(),
    scores=scores,
    consents=st.lists(consents, max_size=2).map(tuple),
    sends=st.lists(sends, max_size=2).map(tuple),
    unit=text,
    assignments=st.dictionaries(text, text, max_size=2),
)
messages = st.builds(
    Message,
    message_id=text,
    rank=counts,
    campaign=text,
    trigger=text,
    step=st.none() | text,
    channel=text,
    variant=st.none() | text,
    topic=text,
    purpose=text,
    tags=tags,
    send_at=instants,
    expires_at=instants,
    value_minor=st.none() | counts,
    action_probability=numbers,
    content=objects,
    headers=st.dictionaries(text, text, max_size=2),
    reasons=tags,
    obeys_caps=st.booleans(),
    counts=st.booleans(),
    is_virtual=st.booleans(),
)
removals = st.builds(
    Removal,
    campaign=text,
    channel=st.none() | text,
    variant=st.none() | text,
    stage=st.sampled_from(Stage),
    reason=st.sampled_from(Reason),
    rule=st.none() | text,
    detail=objects,
    would_pass_at=maybe_at,
)
decisions = st.builds(
    Decision,
    decision_id=text,
    customer_id=text,
    decided_at=instants,
    playbook_hash=text,
    code_version=text,
    mode=st.sampled_from(Mode),
    degraded=st.booleans(),
    currency=text,
    summary=text,
    scores=scores,
    messages=st.lists(messages, max_size=2).map(tuple),
    removed=st.lists(removals, max_size=2).map(tuple),
    nothing_probability=numbers,
    draws=st.lists(
        st.builds(RankDraw, rank=counts, chosen=text, probabilities=st.dictionaries(text, numbers, max_size=2)),
        max_size=2,
    ).map(tuple),
    exposures=st.lists(st.dictionaries(text, text, max_size=2), max_size=2).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_a_case_survives_json_exactly(given_case):
    """Every field of every noun comes back equal, and writes the same bytes again."""
    data = record.case_to_json(given_case)
    assert record.case_from_json(data) == given_case
    assert record.case_to_json(record.case_from_json(data)) == data


@settings(max_examples=60, deadline=None)
@given(decisions)
def test_a_decision_survives_json_exactly(decision):
    """Every field of every noun comes back equal; the API's answer is plain JSON."""
    assert record.decision_from_json(record.decision_to_json(decision)) == decision
    answer = record.decision_to_dict(decision)
    assert orjson.loads(orjson.dumps(answer))["decision_id"] == decision.decision_id


def test_a_stored_case_decides_the_same():
    """Replay: the case from its JSON gives the decision that was stored, draws and all."""
    book = playbook("exploration: {rate: 0.5}\ncaps:\n  day: {at_most: 2, in: 1d}\n")
    for n in range(30):
        first = case(
            book, Ask(customer_id="c1", max_messages=2), seed=f"{n:x}", sends=(send(NOW),), features={"h": (0.5, 1.0)}
        )
        stored = record.decision_from_json(record.decision_to_json(decide(first, book)))
        assert decide(record.case_from_json(record.case_to_json(first)), book) == stored


def test_the_answer_has_the_shape_of_the_contract():
    """Exactly the documented keys; the trace only when asked for; withheld messages are not handed out."""
    book = playbook("caps:\n  day: {counts: {channel: inapp}, at_most: 0, in: 1d}\n")
    why = ScoreReason(feature="last_order_age_days", value=61, effect=0.12, text="61 days since the last order")
    found = Score(name="purchase", p=0.1, model="purchase/5", target="order within 30 d", reasons=(why,))
    asked = case(book, scores={"purchase": found})
    answer = record.decision_to_dict(decide(asked, book))
    assert list(answer) == [
        "decision_id", "customer_id", "decided_at", "playbook", "mode", "degraded", "currency", "summary",
        "scores", "messages", "removed", "nothing_probability", "exposures",
    ]  # fmt: skip
    assert answer["scores"]["purchase"] == {
        "p": 0.1,
        "target": "order within 30 d",
        "model": "purchase/5",
        "reasons": [{"feature": "last_order_age_days", "value": 61, "effect": 0.12, "text": why.text}],
    }
    assert set(answer["messages"][0]) == {
        "message_id", "rank", "campaign", "trigger", "step", "channel", "variant", "send_at", "expires_at",
        "value_minor", "action_probability", "content", "headers", "reasons",
    }  # fmt: skip
    capped = next(r for r in answer["removed"] if r["campaign"] == "plain")
    assert capped == {
        "campaign": "plain", "channel": "inapp", "variant": None, "stage": "place", "reason": "frequency_cap",
        "rule": "day", "detail": {"limit": 0, "found": 0, "window": "1d"}, "would_pass_at": None,
    }  # fmt: skip
    held = case(book, assignments={"global_holdout": "holdout"})
    traced = record.decision_to_dict(decide(held, book), held)
    assert traced["messages"] == []
    assert traced["trace"]["draws"][0]["rank"] == 1
    assert traced["trace"]["case"]["decision_id"] == "d-1"


def test_a_send_carries_all_a_courier_needs():
    """The reservation of a message: same id, its words, the firing's properties and key."""
    book = playbook()
    ask = firing("cart", name="Shoe")
    given_case = case(book, ask, who=customer(account_id="acme"))
    decision = decide(given_case, book)
    booked = record.send_of(decision, decision.messages[0], given_case, {"weekly": 2})
    assert (booked.account_id, booked.payload["limits"]) == ("acme", {"weekly": 2})
    assert (booked.message_id, booked.customer_id, booked.deliver) == ("d-1-1", "c1", Deliver.SERVICE)
    assert (booked.state, booked.trigger_key, booked.reserved_at) == (SendState.RESERVED, "k1", NOW)
    assert booked.payload["content"]["body"] == "Shoe waits"
    assert booked.payload["event"] == {"name": "Shoe"}
    assert orjson.loads(orjson.dumps(booked.payload)) == booked.payload

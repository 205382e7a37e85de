"""Cases, playbooks and lines for the tests of the decision room."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from opportune.domain.customers import Consent, ConsentState, Customer
from opportune.domain.decisions import Ask, Case, Firing, Score
from opportune.domain.messages import Deliver, Send, SendState
from opportune.playbook.load import Playbook, load_files

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday, noon
SEED = "5eed" * 16

#: One topic of each purpose, three campaigns on request and two fired ones; no caps, no quiet hours.
PLAYBOOK = """
currency: GBP
goals:
  order: {event: Order Completed, value_minor: 2500}
topics:
  offers: {purpose: marketing}
  news: {purpose: marketing}
  account: {purpose: transactional}
consent:
  default: {"*": in}
triggers:
  ask: {kind: request}
  cart: {on: {event: Product Added}}
  reset: {kind: transactional, on: {event: Password Reset Requested}}
campaigns:
  big:
    trigger: ask
    topic: offers
    channels: [email]
    goal: order
    value_minor: 9000
    content: {email: {subject: Big, body: "Hello {{ traits.name | default: 'you' }}"}}
  small:
    trigger: ask
    topic: news
    channels: [email, push]
    goal: order
    content:
      email: {subject: Small, body: Small news}
      push: {body: Small push}
  plain:
    trigger: ask
    topic: news
    channels: [inapp]
    priority: 5
    content: {inapp: {body: Plain}}
  cart:
    trigger: cart
    topic: offers
    channels: [email]
    goal: order
    content: {email: {subject: Cart, body: "{{ event.name | default: 'it' }} waits"}}
  reset:
    trigger: reset
    topic: account
    channels: [email]
    content: {email: {subject: Reset, body: "{{ event.token | default: '-' }}"}}
"""


def playbook(extra: str = "", base: str = PLAYBOOK) -> Playbook:
    """The small playbook, or a changed one (see `swapped`), plus more YAML."""
    return load_files({"base.yaml": base.encode(), **({"extra.yaml": extra.encode()} if extra else {})})


def swapped(*pairs: tuple[str, str]) -> str:
    """The small playbook's text with pieces replaced; each piece must be there."""
    text = PLAYBOOK
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def score(p: float, name: str = "purchase") -> Score:
    return Score(name=name, p=p, model=f"{name}/1", target="order within 30 d")


def customer(**traits: Any) -> Customer:
    known = {"email": "a@example.org", "phone": "+44", "push_token": "t", "timezone": "Europe/London"}
    return Customer(customer_id="c1", traits={**known, **traits})


def consent(channel: str, topic: str, state: str, days_ago: float, source: str = "form") -> Consent:
    at = NOW - timedelta(days=days_ago)
    return Consent(
        consent_id=f"{channel}/{topic}/{state}/{days_ago}/{source}",
        customer_id="c1",
        channel=channel,
        topic=topic,
        state=ConsentState(state),
        at=at,
        source=source,
        recorded_at=at,
    )


def send(at: datetime, n: int = 0, **changes: Any) -> Send:
    given: dict[str, Any] = {
        "message_id": f"m{n}-{at.isoformat()}",
        "customer_id": "c1",
        "decision_id": f"d{n}",
        "rank": 1,
        "campaign": "other",
        "trigger": "ask",
        "channel": "email",
        "topic": "offers",
        "purpose": "marketing",
        "variant": None,
        "tags": (),
        "state": SendState.SENT,
        "deliver": Deliver.CALLER,
        "send_at": at,
        "expires_at": at + timedelta(days=1),
        "reserved_at": at,
    }
    return Send(**{**given, **changes})


def firing(trigger: str, due_at: datetime = NOW, **properties: Any) -> Ask:
    what = Firing(trigger=trigger, key="k1", due_at=due_at, set_by="e1", version=1, properties=properties)
    return Ask(customer_id="c1", trigger=trigger, deliver=Deliver.SERVICE, firing=what)


def case(
    book: Playbook,
    ask: Ask | None = None,
    scores: Mapping[str, Score] | None = None,
    who: Customer | None = None,
    **changes: Any,
) -> Case:
    given: dict[str, Any] = {
        "decision_id": "d-1",
        "ask": ask or Ask(customer_id="c1"),
        "customer": who or customer(),
        "now": NOW,
        "playbook_hash": book.hash,
        "code_version": "test",
        "seed": SEED,
        "features": {},
        "features_version": 1,
        "degraded": False,
        "scores": {"purchase": score(0.1)} if scores is None else scores,
        "consents": (),
        "sends": (),
        "unit": "u1",
    }
    return Case(**{**given, **changes})

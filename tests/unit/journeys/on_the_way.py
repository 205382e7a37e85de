"""A small shop with one journey, in a sandbox, and what can be asked of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import opportune
from opportune.sandboxes import Sandbox

BASE = """
goals: {order: {event: Order Completed}}
topics: {news: {}, orders: {purpose: transactional}}
consent: {default: {"*": in}}
triggers:
  signed_up: {on: {event: Signed Up}}
  cart: {on: {event: Product Added, key: properties.cart_id}}
campaigns:
  hello: {topic: news, channels: [email], content: {email: {subject: Hello, body: b}}}
  nudge:
    topic: news
    channels: [email, push, sms]
    content: {email: {subject: s, body: '{{ event.plan | default: "none" }}'}, push: {body: b}, sms: {body: b}}
  receipt: {topic: orders, channels: [email], content: {email: {subject: s, body: b}}}
"""


def playbook(steps: str, head: str = "", more: str = "") -> str:
    """The shop with a journey `j` of these steps (lines, from the left margin)."""
    body = "\n".join("      " + line for line in steps.strip().splitlines())
    start = "" if "start:" in head else "    start: signed_up\n"
    top = "".join(f"    {line.strip()}\n" for line in head.splitlines() if line.strip())
    return f"{BASE}{more}\njourneys:\n  j:\n{start}{top}    steps:\n{body}\n"


@contextmanager
def on_the_way(steps: str, head: str = "", more: str = "", zone: str = "Europe/London", **at: Any) -> Iterator[Sandbox]:
    """A sandbox in which Ada can be reached by e-mail, push and text message."""
    with opportune.sandbox(playbook=playbook(steps, head, more), **at) as o:
        o.identify("ada", email="ada@example.org", phone="+441", push_token="t", timezone=zone)
        yield o


def taken(o: Sandbox, customer: str = "ada", key: str | None = None) -> list[tuple[str, str]]:
    """(step, result) of every instance of the customer, in order; an end as its ending."""
    with o._desk.ledger.read() as uow:
        instances = [i for i in uow.journeys.of([customer]).get(customer, []) if key in (None, i.key)]
        lines = uow.journeys.taken([i.instance_id for i in instances])
    return [
        (line.step, line.detail["ending"] if line.result.value == "ended" else line.result.value)
        for one in instances
        for line in lines.get(one.instance_id, [])
    ]


def details(o: Sandbox, customer: str = "ada") -> list[dict[str, Any]]:
    """The detail of each step taken."""
    with o._desk.ledger.read() as uow:
        instances = uow.journeys.of([customer]).get(customer, [])
        lines = uow.journeys.taken([i.instance_id for i in instances])
    return [dict(line.detail) for one in instances for line in lines.get(one.instance_id, [])]


def heard(o: Sandbox) -> list[tuple[str, str, str]]:
    """(campaign, channel, when) of what was handed over."""
    return [(m.campaign, m.channel, f"{m.at:%m-%d %H:%M}") for m in o.messages]

"""Links are written at the door: what was decided has slots for them, what leaves has tokens."""

from dataclasses import replace

from opportune.domain.decisions import Decision
from opportune.domain.links import Link, written
from opportune.domain.messages import Send


def linked_decision(decision: Decision, secret: bytes) -> Decision:
    """The decision as its caller sees it: contents and headers with live links to our pages."""
    messages = []
    for m in decision.messages:
        link = Link(
            customer_id=decision.customer_id,
            channel=m.channel,
            topic=m.topic,
            message_id=m.message_id,
            issued_at=decision.decided_at,
        )
        messages.append(replace(m, content=written(m.content, link, secret), headers=written(m.headers, link, secret)))
    return replace(decision, messages=tuple(messages)) if messages else decision


def linked_send(send: Send, secret: bytes) -> Send:
    """The send as its courier or caller sees it. The same message always carries the same links."""
    link = Link(
        customer_id=send.customer_id,
        channel=send.channel,
        topic=send.topic,
        message_id=send.message_id,
        issued_at=send.reserved_at,
    )
    changed = {
        part: written(send.payload[part], link, secret) for part in ("content", "headers") if part in send.payload
    }
    return replace(send, payload={**send.payload, **changed})

"""Messages are booked: reserved, and put out for delivery when the service delivers them."""

from collections.abc import Sequence

from opportune.domain.messages import Deliver, Send
from opportune.ports import OutboxItem, UnitOfWork


def book(sends: Sequence[Send], uow: UnitOfWork) -> None:
    """Reserve what was chosen. What a holdout withheld counts and is never delivered."""
    if not sends:
        return
    uow.sends.reserve(sends)
    deliveries = [
        OutboxItem(topic="deliver", key=s.message_id, available_at=s.send_at)
        for s in sends
        if s.deliver is Deliver.SERVICE and not s.is_virtual
    ]
    if deliveries:
        uow.outbox.put(deliveries)

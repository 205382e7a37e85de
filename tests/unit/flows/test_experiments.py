"""What experiments change reaches every flow: how far back sends are read, and what is asked again at hand-off."""

from datetime import timedelta
from pathlib import Path

from tests.desks import NOON, desk_of, playbook_of

from opportune.domain.customers import Customer
from opportune.domain.decisions import Ask, Decision
from opportune.domain.messages import Deliver
from opportune.experiments.assign import variation_of
from opportune.flows.decide import decide
from opportune.flows.deliver import ask_again
from opportune.flows.desk import look_back

PLAYBOOK = """
topics: {offers: {}}
consent: {default: {"*": in}}
caps:
  weekly: {at_most: 1, in: 7d}
triggers: {ask: {kind: request}}
campaigns:
  offer: {trigger: ask, topic: offers, channels: [email], content: {email: {subject: Offer, body: Hello}}}
experiments:
  more:
    variations:
      control: {}
      treatment: {override: {caps.weekly.at_most: 2, caps.weekly.in: 30d}}
"""


def test_sends_are_read_as_far_back_as_any_variation_asks(tmp_path: Path) -> None:
    """The longest window of any variation counts, not only the base's."""
    assert look_back(playbook_of(tmp_path, PLAYBOOK)) >= timedelta(days=30)


def test_at_hand_off_the_caps_of_the_customers_own_variation_are_asked_again(tmp_path: Path) -> None:
    """A second message that the variation allows is not held back by the base's cap."""
    desk = desk_of(playbook_of(tmp_path, PLAYBOOK))
    trial = desk.playbook.spec.experiments["more"]
    ids = [f"c{n}" for n in range(50)]
    treated = next(c for c in ids if variation_of("more", trial, desk.unit(c)) == "treatment")
    with desk.ledger.begin() as uow:
        uow.customers.put([Customer(customer_id=treated, traits={"email": "a@example.org"})])
    ask = Ask(customer_id=treated, deliver=Deliver.SERVICE)
    sent = [d.messages[0].message_id for d in decide([ask, ask], desk) if isinstance(d, Decision)]
    with desk.ledger.begin([treated]) as uow:
        go, released, moved = ask_again(sent, NOON, desk.playbook, uow)
    assert [s.message_id for s in go] == sent
    assert (released, moved) == ({}, {})

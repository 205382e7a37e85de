"""What customers on a journey see when they look: read once for a batch, under their locks."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from opportune.decision.consent import Standing
from opportune.decision.environment import environment
from opportune.decision.zones import zone_of
from opportune.domain.customers import ANY, Consent, ConsentState
from opportune.domain.decisions import Case
from opportune.domain.events import Event
from opportune.domain.experiments import GLOBAL_HOLDOUT, HELD
from opportune.domain.journeys import Instance
from opportune.domain.messages import Outcome, Send
from opportune.experiments.assign import hash_v2
from opportune.journeys.definition import Definition, read
from opportune.journeys.sight import CLICKED, OPENED, Sight, Spoken
from opportune.playbook.journey_references import said_in
from opportune.playbook.load import Playbook
from opportune.playbook.triggers import On
from opportune.ports import UnitOfWork
from opportune.triggers.marks import key_of

log = logging.getLogger("opportune.look")
#: A closed channel that nobody asked to close: the journey goes on on the others.
_NOT_ASKED = ("hard_bounce",)
_First = Callable[[On, datetime, datetime | None, Collection[str]], tuple[datetime, str] | None]


class Outlook:
    """Definitions, events, sends and outcomes that matter to these instances."""

    def __init__(self, instances: Sequence[Instance], playbook: Playbook, uow: UnitOfWork) -> None:
        self._playbook = playbook
        self.definitions = definitions_of(instances, uow)
        message_ids = {m for one in instances for m in one.message_ids}
        self.sends: Mapping[str, Send] = uow.sends.get(message_ids) if message_ids else {}
        self._outcomes = uow.outcomes.of(message_ids) if message_ids else {}
        names = {on.event for definition in self.definitions.values() for on in definition.ons}
        since = min((one.started_at for one in instances), default=None)
        self._events: Mapping[str, Sequence[Event]] = {}
        if names and since is not None:
            self._events = uow.events.named({one.customer_id for one in instances}, names, since)

    def sight(self, one: Instance, definition: Definition, case: Case) -> Sight:
        """The moment of one instance; `case` is its customer's."""
        env = environment(case)
        now_declared = self._playbook.spec.journeys.get(one.journey)
        return Sight(
            now=case.now,
            zone=zone_of(case.customer.zone) or UTC,
            first=self._first(one, definition, env),
            holds=lambda text, journey: definition.conditions[text].holds({**env, "journey": journey}),
            draw=lambda salt: hash_v2(f"journey:{salt}", case.unit),
            spoken={m: spoken_of(self.sends[m], self._outcomes.get(m, ())) for m in one.message_ids if m in self.sends},
            opted_out_at=opted_out_at(one, definition, case.consents, self._playbook),
            is_stopped=now_declared is not None and now_declared.state == "stopped",
            takes_part=not case.customer.is_test and case.assignments.get(GLOBAL_HOLDOUT) != HELD,
        )

    def _first(self, one: Instance, definition: Definition, env: Mapping[str, Any]) -> _First:
        """Finds events of one instance: an event that carries the key must carry the instance's own."""
        events = self._events.get(one.customer_id, ())

        def first(
            on: On, since: datetime, before: datetime | None, without: Collection[str]
        ) -> tuple[datetime, str] | None:
            path = on.key or definition.key
            for event in events:
                if before is not None and event.event_at >= before:
                    break
                if event.name != on.event or event.event_at < since or event.message_id in without:
                    continue
                if key_of(event, path) not in (None, one.key):
                    continue
                here = {**env, "event": event.properties, "context": event.context}
                if on.when is None or definition.conditions[on.when].holds(here):
                    return event.event_at, event.message_id
            return None

        return first


#: By version, which never changes its meaning: read once per process.
_DEFINITIONS: dict[str, Definition] = {}
_MOST_DEFINITIONS = 1024


def definitions_of(instances: Iterable[Instance], uow: UnitOfWork) -> dict[str, Definition]:
    """Version -> definition, of the versions these are on. One that cannot be read (any more) is left out."""
    found: dict[str, Definition] = {}
    for version in {one.version for one in instances}:
        known = _DEFINITIONS.get(version)
        source = uow.journeys.definition(version) if known is None else None
        try:
            if source is not None:
                if len(_DEFINITIONS) >= _MOST_DEFINITIONS:
                    _DEFINITIONS.clear()
                known = _DEFINITIONS[version] = read(source)
        except (ValueError, KeyError):
            log.error("definition %s of a journey cannot be read: those on it leave it", version)
        if known is not None:
            found[version] = known
    return found


def spoken_of(send: Send, outcomes: Sequence[Outcome]) -> Spoken:
    """What became of one message. Machines that open do not count."""
    kinds = {outcome.kind for outcome in outcomes if not outcome.is_machine}
    return Spoken(send.state, send.send_at, bool(kinds & OPENED), bool(kinds & CLICKED))


def opted_out_at(
    one: Instance, definition: Definition, consents: Sequence[Consent], playbook: Playbook
) -> datetime | None:
    """The earliest opt-out, heard since it started and still in force, of a channel and topic the journey speaks on."""
    policy, standing = playbook.spec.consent, Standing(consents)
    heard = [
        line
        for line in consents
        if line.state is ConsentState.OUT and line.source not in _NOT_ASKED and line.recorded_at >= one.started_at
    ]
    found = [
        line.at
        for channel, topic in _speaks_on(definition, playbook) if heard
        for line in heard
        if line.channel in (channel, ANY) and line.topic in (topic, ANY)
        and standing.refusal(channel, topic, False, policy) is not None
    ]  # fmt: skip
    return min(found, default=None)


def _speaks_on(definition: Definition, playbook: Playbook) -> set[tuple[str, str]]:
    """(channel, topic) of its marketing messages, as the playbook has the campaigns now."""
    spec, found = playbook.spec, set[tuple[str, str]]()
    for _, _, said in said_in(definition.journey):
        campaign = spec.campaigns.get(said.campaign)
        if campaign is not None and spec.topics[campaign.topic].purpose == "marketing":
            found |= {(channel, campaign.topic) for channel in said.channels or campaign.channels}
    return found

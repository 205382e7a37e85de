"""The playbook as the pipeline reads it: every campaign on every channel, compiled once per playbook."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from opportune.decision.candidate import Asked, Option
from opportune.decision.caps import CapRule, compile_cap, limits_of
from opportune.decision.zones import QuietRule, compile_quiet
from opportune.domain.decisions import Ask, Case
from opportune.playbook.load import Playbook
from opportune.playbook.schema import Campaign, Content
from opportune.playbook.values import Channel

#: The goal whose probability a model of another name gives.
SCORE_OF_GOAL = {"order": "purchase"}


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """Options by trigger, by campaign for the steps of journeys, those of the request triggers together, and all caps
    in the order of the playbook."""

    by_trigger: dict[str, tuple[Option, ...]]
    in_steps: dict[str, tuple[Option, ...]]
    on_request: tuple[Option, ...]
    caps: tuple[CapRule, ...]
    quiet: QuietRule | None
    #: Those of `caps` whose limit depends on the customer.
    varying: tuple[CapRule, ...]

    def options(self, ask: Ask) -> tuple[Option, ...]:
        """What could be said: to a step of a journey its one campaign, to a firing or a named trigger its own
        campaigns, else all of kind request."""
        if ask.firing is not None and ask.firing.campaign is not None:
            return self.in_steps.get(ask.firing.campaign, ())
        trigger = ask.firing.trigger if ask.firing is not None else ask.trigger
        return self.on_request if trigger is None else self.by_trigger.get(trigger, ())


#: Compiled rules by the hash of their playbook; a handful are ever in use at once.
_COMPILED: dict[str, Rules] = {}
_MOST_COMPILED = 64


def rules_of(playbook: Playbook) -> Rules:
    """The compiled rules of a playbook, compiled once per hash."""
    rules = _COMPILED.get(playbook.hash)
    if rules is None:
        if len(_COMPILED) >= _MOST_COMPILED:
            _COMPILED.clear()
        rules = _COMPILED[playbook.hash] = compile_rules(playbook)
    return rules


def compile_rules(playbook: Playbook) -> Rules:
    """Everything about a playbook that no customer changes."""
    spec = playbook.spec
    caps = tuple(compile_cap(name, cap) for name, cap in spec.caps.items())
    quiet = compile_quiet(spec.quiet_hours) if spec.quiet_hours else None
    options: list[Option] = []
    in_steps: dict[str, tuple[Option, ...]] = {}
    for name, campaign in spec.campaigns.items():
        mine = [
            _option(len(options) + place, name, campaign, channel, playbook, caps, quiet)
            for place, channel in enumerate(campaign.channels)
        ]
        options += mine
        in_steps[name] = tuple(
            replace(o, trigger="", trigger_spec=None, conditions=o.conditions[-1:] if campaign.when else ())
            for o in mine
        )
    return Rules(
        by_trigger={t: tuple(o for o in options if o.trigger == t) for t in spec.triggers},
        in_steps=in_steps,
        on_request=tuple(o for o in options if o.trigger_spec is not None and o.trigger_spec.kind == "request"),
        caps=caps,
        quiet=quiet,
        varying=tuple(rule for rule in caps if rule.adapt is not None or rule.is_per_account),
    )


def limits(case: Case, playbook: Playbook) -> dict[CapRule, int]:
    """The limits of this customer that are other than the playbook declares."""
    varying = rules_of(playbook).varying
    if not varying:
        return {}
    scores = {name: score.p for name, score in case.scores.items()}
    return limits_of(varying, case.customer.account_id is not None, case.features, scores)


def adapted(case: Case, playbook: Playbook) -> dict[str, int]:
    """The limits that adapt, by name of the cap, as this decision has them: a message keeps them until its hand-off."""
    if not any(rule.adapt for rule in rules_of(playbook).varying):
        return {}
    return {rule.name: limit for rule, limit in limits(case, playbook).items() if rule.adapt is not None}


def explores(case: Case, playbook: Playbook) -> bool:
    """Exploration, of actions or of hours, is on and the customer is not a test customer."""
    exploration = playbook.spec.exploration
    return (exploration.rate > 0 or exploration.hours > 0) and not case.customer.is_test


def ranks(case: Case, playbook: Playbook) -> range:
    """The ranks to fill, from 1: as many messages as the caller allows, else the playbook."""
    asked = case.ask.max_messages
    return range(1, (playbook.spec.max_messages if asked is None else asked) + 1)


def _option(
    index: int,
    name: str,
    campaign: Campaign,
    channel: str,
    playbook: Playbook,
    caps: tuple[CapRule, ...],
    quiet: QuietRule | None,
) -> Option:
    spec = playbook.spec
    purpose = spec.topics[campaign.topic].purpose
    is_transactional = purpose == "transactional"
    obeys_caps = campaign.obeys_caps and not is_transactional
    obeys_quiet = campaign.obeys_quiet_hours and not is_transactional and quiet is not None and quiet.binds(channel)
    goal = spec.goals.get(campaign.goal) if campaign.goal else None
    option = Option(
        index=index,
        campaign=name,
        spec=campaign,
        trigger=campaign.trigger or "",
        trigger_spec=spec.triggers[campaign.trigger] if campaign.trigger is not None else None,
        channel=channel,
        topic=campaign.topic,
        purpose=purpose,
        tags=campaign.tags,
        is_transactional=is_transactional,
        obeys_caps=obeys_caps,
        counts=campaign.counts_toward_caps,
        conditions=_conditions(name, campaign, playbook),
        caps=(),
        quiet=quiet if obeys_quiet else None,
        goal_minor=campaign.value_minor if campaign.value_minor is not None else goal.value_minor if goal else None,
        score=SCORE_OF_GOAL.get(campaign.goal, campaign.goal) if campaign.goal else None,
        variants=tuple(campaign.variants),
        weights=tuple(v.weight for v in campaign.variants.values()),
        contents=_contents(campaign, channel),
    )
    return replace(option, caps=tuple(rule for rule in caps if rule.includes(option))) if obeys_caps else option


def _conditions(name: str, campaign: Campaign, playbook: Playbook) -> tuple[Asked, ...]:
    """The trigger's condition under the trigger's name, the campaign's own under `<campaign>.when`."""
    asked = [(f"{name}.when", campaign.when)]
    if campaign.trigger is not None:
        asked.insert(0, (campaign.trigger, playbook.spec.triggers[campaign.trigger].when))
    return tuple(Asked(rule, text, _scores_read(playbook, text)) for rule, text in asked if text is not None)


def _scores_read(playbook: Playbook, text: str) -> tuple[str, ...]:
    return tuple(sorted(n.split(".")[1] for n in playbook.reads(text) if n.startswith("scores.")))


def _contents(campaign: Campaign, channel: str) -> dict[str | None, Content]:
    """Content per variant; a variant silent on this channel falls back to the campaign's plain content."""

    def by_channel(texts: Mapping[Channel, Content]) -> Content | None:
        return next((content for name, content in texts.items() if name == channel), None)

    plain = by_channel(campaign.content)
    contents: dict[str | None, Content] = {} if plain is None else {None: plain}
    for name, variant in campaign.variants.items():
        contents[name] = by_channel(variant.content) or contents[None]
    return contents

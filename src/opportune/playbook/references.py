"""What no single block can know: names that must exist elsewhere, conditions, templates, what cannot work."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Any

from opportune.playbook.cap_references import doubts_about_caps, errors_in_adapts, errors_in_cap
from opportune.playbook.conditions import AUDIENCE_ROOTS, ROOTS, ConditionInvalid, Names, compile_condition
from opportune.playbook.journey_references import (
    conditions_below,
    conditions_in,
    errors_in_journey,
    said_in,
    unknown_journey_name,
    warnings_in_journey,
)
from opportune.playbook.lines import Path
from opportune.playbook.reach_references import (
    doubts_in_window,
    errors_in_consent,
    errors_in_quiet_hours,
    errors_in_window,
)
from opportune.playbook.schema import Campaign, Cap, Content, PlaybookSpec
from opportune.playbook.templates import check_template, without_fallback
from opportune.playbook.trigger_references import (
    carried,
    errors_in_trigger,
    fault_of_text,
    level_faults,
    not_a_property,
    ons_of,
    unknown,
)
from opportune.playbook.triggers import Trigger
from opportune.playbook.unheard import never_heard
from opportune.playbook.worth_references import errors_in_worth, fault_of_feature, warnings_in_worth

_PROPERTY = re.compile(r"^properties(\.\w+)+$")
_TEXTS = ("subject", "body", "cta", "url")

#: path, message
Found = tuple[Path, str]
#: section -> blocks by name, faulty ones included
Declared = Mapping[str, Mapping[str, Any]]
#: Sections of named blocks, which several files may share.
NAMED = (
    "goals", "topics", "caps", "send_windows", "audiences", "occasions", "sources", "triggers", "campaigns", "journeys",
    "levers", "budgets", "experiments",
)  # fmt: skip
#: Who may take part in an experiment: nothing that depends on the request, or on the models under test.
TAKES_PART_ROOTS = ("features", "traits")


def conditions_of(spec: PlaybookSpec) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    """Every condition: its path, its text, and the roots it may read. Those asked of an arriving event read only it."""
    for name, goal in spec.goals.items():
        if goal.when is not None:
            yield ("goals", name, "when"), goal.when, ("event",)
    for name, trigger in spec.triggers.items():
        for path, on in ons_of(name, trigger):
            if on.when is not None:
                yield (*path, "when"), on.when, ("event",)
        if trigger.when is not None:
            yield ("triggers", name, "when"), trigger.when, ROOTS
    for name, campaign in spec.campaigns.items():
        if campaign.when is not None:
            yield ("campaigns", name, "when"), campaign.when, ROOTS
    for name, journey in spec.journeys.items():
        yield from conditions_in(name, journey)
    for name, experiment in spec.experiments.items():
        if experiment.when is not None:
            yield ("experiments", name, "when"), experiment.when, TAKES_PART_ROOTS
    for name, lever in spec.levers.items():
        if lever.when is not None:
            yield ("levers", name, "when"), lever.when, ROOTS
    for name, audience in spec.audiences.items():
        yield ("audiences", name), audience, AUDIENCE_ROOTS


def contents_of(name: str, campaign: Campaign) -> Iterator[tuple[Path, str, Content]]:
    """Every content of a campaign: path, channel, content."""
    for channel, content in campaign.content.items():
        yield ("campaigns", name, "content", channel), channel, content
    for variant_name, variant in campaign.variants.items():
        for channel, content in variant.content.items():
            yield ("campaigns", name, "variants", variant_name, "content", channel), channel, content


def errors_in_texts(raw: Mapping[str, Any], names: Names | None) -> Iterator[Found]:
    """Conditions, properties, templates that cannot work, in faulty blocks too. `names` null: not looked up."""
    audiences = dict(_audiences_in(raw))
    for name, text in audiences.items():
        yield from _condition_faults(("audiences", name), text, names, AUDIENCE_ROOTS, {})
    yield from level_faults(raw.get("triggers"), names)
    for path, text, may_read in conditions_below(raw.get("journeys"), ("journeys",)):
        yield from _condition_faults(path, text, names, may_read, audiences)
    for path, text in _texts_below(raw.get("channels"), ("channels",)):
        if fault := fault_of_feature(path, text, names):
            yield path, fault
    if names is not None:
        yield from errors_in_adapts(raw, names)
    for section in ("goals", "triggers", "campaigns", "levers", "experiments"):
        for path, text in _texts_below(raw.get(section), (section,)):
            if section == "experiments" and len(path) > 3:
                continue  # overrides are judged where they are applied (overrides.py)
            if path[-1] == "when":
                roots: tuple[str, ...] = ("event",) if section == "goals" or len(path) > 3 else ROOTS
                if section == "experiments":
                    roots = TAKES_PART_ROOTS
                yield from _condition_faults(path, text, names, roots, audiences)
            elif section == "goals" and path[-1] == "value":
                if not _PROPERTY.match(text):
                    yield path, not_a_property(text)
            elif section == "triggers" and (fault := fault_of_text(path, text, names)):
                yield path, fault
            elif section == "campaigns" and path[-1] in _TEXTS and path[-3:-2] == ("content",):
                for line, message in check_template(text, names.features if names else None):
                    yield path, f"template{f' line {line}' if len(text.splitlines()) > 1 else ''}: {message}"


def _audiences_in(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    blocks = raw.get("audiences")
    for name, text in blocks.items() if isinstance(blocks, dict) else ():
        if isinstance(text, str):
            yield name, text


def _condition_faults(
    path: Path, text: str, names: Names | None, roots: tuple[str, ...], audiences: Mapping[str, str]
) -> Iterator[Found]:
    try:
        reads = compile_condition(text, names, roots, audiences).reads
    except ConditionInvalid as error:
        shown = text if len(text) < 100 else text[:97] + "..."
        for at, message in error.problems:
            yield path, f"condition `{shown}`, character {at}: {message}"
    else:
        for message in unknown_journey_name(reads):
            yield path, message


def _texts_below(tree: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(tree, str):
        yield path, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _texts_below(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _texts_below(value, (*path, index))


def errors_in(raw: Mapping[str, Any], spec: PlaybookSpec) -> Iterator[Found]:
    """Names that do not exist and blocks that cannot work. `spec` is what fits of `raw`."""
    declared = {section: blocks if isinstance(blocks := raw.get(section), dict) else {} for section in NAMED}
    for name, block in declared["campaigns"].items():
        for field, section in (("trigger", "triggers"), ("topic", "topics"), ("goal", "goals")):
            wanted = block.get(field) if isinstance(block, dict) else None
            if isinstance(wanted, str) and wanted not in declared[section]:
                yield ("campaigns", name, field), unknown(field, wanted, declared[section])
    for name, trigger in spec.triggers.items():
        yield from errors_in_trigger(name, trigger, declared)
    for name, campaign in spec.campaigns.items():
        yield from _campaign_errors(name, campaign, spec)
    for name, journey in spec.journeys.items():
        yield from errors_in_journey(name, journey, spec, declared)
    tags = {tag for campaign in spec.campaigns.values() for tag in campaign.tags}
    for name, cap in spec.caps.items():
        yield from _cap_errors(name, cap, declared, tags)
    yield from errors_in_consent(spec.consent)
    if spec.quiet_hours is not None:
        yield from errors_in_quiet_hours(spec.quiet_hours)
    for name, window in spec.send_windows.items():
        yield from errors_in_window(name, window, declared["topics"])
    yield from errors_in_worth(spec, declared, tags)


def warnings_in(spec: PlaybookSpec) -> Iterator[Found]:
    """What works but is probably not meant."""
    yield from warnings_in_worth(spec)
    yield from _item_warnings(spec)
    used = {campaign.trigger for campaign in spec.campaigns.values()} | {j.start for j in spec.journeys.values()}
    for name in spec.triggers:
        if name not in used:
            yield ("triggers", name), "no campaign or journey uses this trigger: it will fire and say nothing"
    topics = {campaign.topic for campaign in spec.campaigns.values()}
    for name in spec.topics:
        if name not in topics:
            yield ("topics", name), "no campaign speaks about this topic"
    spoken = {said.campaign for journey in spec.journeys.values() for _, _, said in said_in(journey)}
    for name, journey in spec.journeys.items():
        yield from warnings_in_journey(name, journey, spec)
    for name, campaign in spec.campaigns.items():
        if campaign.trigger is None and name not in spoken:
            yield ("campaigns", name), "it has no trigger and no journey speaks it: it is never said"
        trigger = spec.triggers.get(campaign.trigger or "")
        topic = spec.topics.get(campaign.topic)
        if topic and trigger and topic.purpose == "transactional" and trigger.kind not in ("transactional", "request"):
            yield (
                ("campaigns", name, "topic"),
                f"a transactional topic bypasses marketing consent, and trigger `{campaign.trigger}` is of kind "
                f"{trigger.kind}: use kind transactional if this message is part of a service",
            )
        for path, channel, content in contents_of(name, campaign):
            if channel not in campaign.channels:
                yield path, f"`{channel}` is not among the campaign's channels: this content is never used"
            if channel == "email" and content.subject is None:
                yield path, "an e-mail without a `subject`"
            if (content.cta is None) != (content.url is None):
                yield path, "`cta` and `url` belong together: the words of the link and where it leads"
            for field, text in _texts(content):
                for _, missing in without_fallback(text):
                    if missing not in carried(trigger):
                        yield (
                            (*path, field),
                            f'`{missing}` may be missing: add a fallback, like `{{{{ {missing} | default: "..." }}}}`',
                        )
    heard = {
        (channel, topic.purpose, campaign.topic)
        for campaign in spec.campaigns.values()
        if (topic := spec.topics.get(campaign.topic))
        for channel in campaign.channels
    }
    for name, window in spec.send_windows.items():
        yield from doubts_in_window(name, window, heard)
    for name, cap in spec.caps.items():
        counted = cap.counts.campaign
        if counted in spec.campaigns and not spec.campaigns[counted].counts_toward_caps:
            yield (
                ("caps", name, "counts", "campaign"),
                f"campaign `{counted}` has `counts_toward_caps: false`: this cap never counts",
            )
    yield from doubts_about_caps(spec)
    yield from never_heard(spec)


def _item_warnings(spec: PlaybookSpec) -> Iterator[Found]:
    """Conditions on an item where none is known. What only journeys say may know it from the trigger they start by."""
    asked: list[tuple[Path, str | None, Trigger | None]] = [
        (("triggers", name, "when"), t.when, t) for name, t in spec.triggers.items()
    ]
    asked += [(("campaigns", n, "when"), c.when, spec.triggers.get(c.trigger or "")) for n, c in spec.campaigns.items()]
    for path, text, trigger in asked:
        if text is None or trigger is None or trigger.kind == "catalogue":
            continue
        if any(name.startswith("item.") for name in compile_condition(text, None, ROOTS, spec.audiences).reads):
            yield path, "only triggers of kind catalogue know an item: here `item.*` is always null"


def _texts(content: Content) -> Iterator[tuple[str, str]]:
    for field in _TEXTS:
        text = getattr(content, field)
        if text is not None:
            yield field, text


def _campaign_errors(name: str, campaign: Campaign, spec: PlaybookSpec) -> Iterator[Found]:
    path: Path = ("campaigns", name)
    trigger, topic = spec.triggers.get(campaign.trigger or ""), spec.topics.get(campaign.topic)
    if trigger and topic and trigger.kind == "transactional" and topic.purpose != "transactional":
        yield (
            (*path, "topic"),
            f"trigger `{campaign.trigger}` is transactional and topic `{campaign.topic}` is for marketing: "
            "use a topic with `purpose: transactional`, or a trigger of another kind",
        )
    if campaign.content and campaign.variants:
        yield (*path, "variants"), "give `content` or `variants`, not both: move the content into a variant"
    if len(set(campaign.channels)) < len(campaign.channels):
        yield (*path, "channels"), "a channel is named twice"
    for variant_name, variant in campaign.variants.items():
        missing = [channel for channel in campaign.channels if channel not in variant.content]
        if missing and campaign.content:
            yield (*path, "variants", variant_name), f"no content for channel {', '.join(missing)}"
    if campaign.expires_after <= timedelta(0):
        yield (*path, "expires_after"), "every message would have expired: give it time, like 1d"
    if campaign.starts_at and campaign.ends_at and campaign.ends_at <= campaign.starts_at:
        yield (*path, "ends_at"), "ends before it starts"


def _cap_errors(name: str, cap: Cap, declared: Declared, tags: Collection[str]) -> Iterator[Found]:
    path: Path = ("caps", name)
    counts = cap.counts
    for field, wanted, known in (
        ("campaign", counts.campaign, declared["campaigns"]),
        ("topic", counts.topic, declared["topics"]),
        ("tag", counts.tag, tags),
    ):
        if wanted is not None and wanted not in known:
            yield (*path, "counts", field), unknown(field, wanted, known)
    yield from errors_in_cap(name, cap)

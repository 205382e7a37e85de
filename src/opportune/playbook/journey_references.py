"""What a journey alone cannot know: names that must exist elsewhere, steps that nobody reaches or never leaves."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from opportune.playbook.conditions import ROOTS
from opportune.playbook.journey_graph import earliest, edges, never_ends, reached, round_without_wait, step_names
from opportune.playbook.journeys import END, Journey, Said
from opportune.playbook.lines import Path
from opportune.playbook.nearest import hint
from opportune.playbook.schema import PlaybookSpec
from opportune.playbook.trigger_references import not_a_property, unknown
from opportune.playbook.values import format_duration

#: Conditions of a journey also read how it went so far: `journey.opened_n`...
JOURNEY_ROOTS = (*ROOTS, "journey")
#: What stands below `journey.` in a condition.
JOURNEY_NAMES = ("age_days", "messages_n", "opened_n", "clicked_n")
Found = tuple[Path, str]


def conditions_in(name: str, journey: Journey) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    """Every condition of a journey: path, text, and the roots it may read."""
    path: Path = ("journeys", name)
    for index, leave in enumerate(journey.exit):
        if leave.when is not None:
            yield (*path, "exit", index, "when"), leave.when, ("event",) if leave.event else JOURNEY_ROOTS
    for index, step in enumerate(journey.steps):
        at: Path = (*path, "steps", index)
        if step.wait_until is not None and step.wait_until.when is not None:
            roots = ("event",) if step.wait_until.event else JOURNEY_ROOTS
            yield (*at, "wait_until", "when"), step.wait_until.when, roots
        for place, way in enumerate(step.branch or ()):
            yield (*at, "branch", place, "when"), way.when, JOURNEY_ROOTS


def conditions_below(tree: Any, path: Path) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    """As `conditions_in`, of blocks as they are written, faulty ones included."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "when" and isinstance(value, str):
                yield (*path, key), value, ("event",) if "event" in tree else JOURNEY_ROOTS
            else:
                yield from conditions_below(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from conditions_below(value, (*path, index))


def unknown_journey_name(reads: Iterable[str]) -> Iterator[str]:
    """A message for each name below `journey.` that there is not."""
    for name in sorted(reads):
        root, _, rest = name.partition(".")
        if root == "journey" and rest not in JOURNEY_NAMES:
            yield f"unknown name `{name}`{hint(rest, JOURNEY_NAMES)}"


def errors_in_journey(
    name: str, journey: Journey, spec: PlaybookSpec, declared: Mapping[str, Mapping[str, Any]]
) -> Iterator[Found]:
    """Names that do not exist, steps without a way to them, circles that take no time."""
    path: Path = ("journeys", name)
    if journey.start not in declared["triggers"]:
        yield (*path, "start"), unknown("trigger", journey.start, declared["triggers"])
    if journey.goal is not None and journey.goal not in declared["goals"]:
        yield (*path, "goal"), unknown("goal", journey.goal, declared["goals"])
    for at, key in _keys(path, journey):
        if not key.startswith("properties."):
            yield at, not_a_property(key)
    yield from _message_errors(path, journey, spec, declared)
    names = step_names(journey)
    for step, count in Counter(names).items():
        if count > 1 or step == END:
            said = f"`{END}` is where a journey ends" if step == END else f"two steps are called `{step}`"
            yield (*path, "steps", _last(names, step), "name"), f"{said}: choose another name"
    is_sound = True
    for edge in edges(journey):
        if edge.target not in names and edge.target != END:
            is_sound = False
            yield (*path, "steps", names.index(edge.source)), unknown("step", edge.target, (*names, END))
    if is_sound and len(set(names)) == len(names):
        yield from _shape_errors(path, journey, names)


def _last(names: tuple[str, ...], name: str) -> int:
    return len(names) - 1 - names[::-1].index(name)


def _keys(path: Path, journey: Journey) -> Iterator[tuple[Path, str]]:
    for index, leave in enumerate(journey.exit):
        if leave.key is not None:
            yield (*path, "exit", index, "key"), leave.key
    for index, step in enumerate(journey.steps):
        if step.wait_until is not None and step.wait_until.key is not None:
            yield (*path, "steps", index, "wait_until", "key"), step.wait_until.key


def said_in(journey: Journey) -> Iterator[tuple[int, str, Said]]:
    """Every message of a journey: place of the step from 0, its kind, campaign and channels."""
    for index, step in enumerate(journey.steps):
        if step.message is not None:
            yield index, "message", step.message
        elif step.escalate is not None:
            said = Said(campaign=step.escalate.campaign, channels=step.escalate.channels)
            yield index, "escalate", said


def _message_errors(
    path: Path, journey: Journey, spec: PlaybookSpec, declared: Mapping[str, Mapping[str, Any]]
) -> Iterator[Found]:
    for index, kind, said in said_in(journey):
        at: Path = (*path, "steps", index, kind)
        campaign = spec.campaigns.get(said.campaign)
        if campaign is None:
            if said.campaign not in declared["campaigns"]:
                yield (*at, "campaign"), unknown("campaign", said.campaign, declared["campaigns"])
            continue
        missing = [channel for channel in said.channels or () if channel not in campaign.channels]
        if missing:
            yield (
                (*at, "channels"),
                f"campaign `{said.campaign}` does not speak on {', '.join(missing)}: nobody can receive it there; "
                f"it has {', '.join(campaign.channels)}",
            )


def _shape_errors(path: Path, journey: Journey, names: tuple[str, ...]) -> Iterator[Found]:
    there = reached(journey)
    for index, name in enumerate(names):
        if name not in there:
            yield (*path, "steps", index), f"no way leads to step `{name}`: name it in a `go`, or take it out"
    circle = round_without_wait(journey)
    if circle:
        yield (
            (*path, "steps", names.index(circle[0])),
            f"{' -> '.join([*circle, circle[0]])} goes round without a wait: put a `wait` into it",
        )


def warnings_in_journey(name: str, journey: Journey, spec: PlaybookSpec) -> Iterator[Found]:
    """Dead ends, and messages that nobody hears."""
    path: Path = ("journeys", name)
    names = step_names(journey)
    stays = f"stays until `max_length` ({format_duration(journey.max_length)})"
    may_leave = journey.goal is not None or bool(journey.exit)
    stuck = never_ends(journey)
    if stuck and not may_leave:
        yield (
            (*path, "steps", names.index(stuck[0])),
            f"no way leads from step `{stuck[0]}` to the end: who comes here {stays}; give it a way, a goal or an exit",
        )
    for index, step in enumerate(journey.steps):
        if step.wait_until is not None and step.wait_until.for_ is None and not may_leave:
            yield (
                (*path, "steps", index, "wait_until"),
                f"a dead end for all to whom it never happens: they {stays.replace('stays', 'stay')}; add `for`",
            )
    if not any(True for _ in said_in(journey)):
        yield (*path, "steps"), "this journey never says anything"
    soonest = earliest(journey)
    for index, kind, said in said_in(journey):
        campaign = spec.campaigns.get(said.campaign)
        if campaign is None:
            continue
        at = soonest.get(names[index], timedelta(0))
        if at >= journey.max_length:
            yield (
                (*path, "steps", index, kind),
                f"nobody comes here: the waits before it take {format_duration(at)}, and `max_length` is "
                f"{format_duration(journey.max_length)}",
            )
        never = [c for c in spec.caps.values() if c.at_most == 0 and c.counts.campaign == said.campaign]
        if never and campaign.obeys_caps:
            yield (*path, "steps", index, kind), f"a cap of 0 counts campaign `{said.campaign}`: nobody can receive it"
        shortest = timedelta(hours=1)
        if campaign.expires_after < shortest and spec.quiet_hours is not None and campaign.obeys_quiet_hours:
            yield (
                (*path, "steps", index, kind),
                f"campaign `{said.campaign}` expires within an hour: in quiet hours nobody can receive it",
            )

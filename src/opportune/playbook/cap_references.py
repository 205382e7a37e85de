"""Caps looked at together: names they read, and what one of them makes pointless or impossible in another."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from opportune.playbook.conditions import Names
from opportune.playbook.lines import Path
from opportune.playbook.nearest import hint
from opportune.playbook.schema import Campaign, Cap, Counts, PlaybookSpec

Found = tuple[Path, str]

#: A calendar window at its shortest and at its longest, clock changes included.
_SHORTEST = {"day": timedelta(hours=23), "week": timedelta(hours=167), "month": timedelta(hours=28 * 24 - 1)}
_LONGEST = {"day": timedelta(hours=25), "week": timedelta(hours=169), "month": timedelta(hours=31 * 24 + 1)}
#: (inner, outer) -> how many calendar windows make up another, edge to edge.
_WHOLE = {("day", "day"): 1, ("week", "week"): 1, ("month", "month"): 1, ("day", "week"): 7, ("day", "month"): 31}
_NUMBERS = ("int", "float")


def errors_in_adapts(raw: Mapping[str, Any], names: Names) -> Iterator[Found]:
    """What a cap adapts to must exist and be a number."""
    blocks = raw.get("caps")
    for name, block in blocks.items() if isinstance(blocks, dict) else ():
        adapt = block.get("adapt") if isinstance(block, dict) else None
        by = adapt.get("by") if isinstance(adapt, dict) else None
        if not isinstance(by, str):
            continue
        root, _, wanted = by.partition(".")
        known = names.features if root == "features" else names.scores if root == "scores" else None
        if known is not None and wanted not in known:
            yield ("caps", name, "adapt", "by"), f"unknown {root.removesuffix('s')} `{wanted}`{hint(wanted, known)}"
        elif root == "features" and names.features[wanted] not in _NUMBERS:
            yield ("caps", name, "adapt", "by"), f"`{by}` is no number: a limit needs one to follow"


def errors_in_cap(name: str, cap: Cap) -> Iterator[Found]:
    """Lengths of nothing."""
    if cap.rolling is not None and cap.rolling <= timedelta(0):
        yield ("caps", name, "in"), "a window needs a length, like 7d"
    if cap.at_least_apart is not None and cap.at_least_apart <= timedelta(0):
        yield ("caps", name, "at_least_apart"), "sends are always 0s apart: give a time, like 20h, or leave it out"


def doubts_about_caps(spec: PlaybookSpec) -> Iterator[Found]:
    """Caps that count nothing, allow nothing, or never hold anything back that another does not."""
    for name, cap in spec.caps.items():
        path: Path = ("caps", name)
        named = [n for n, c in spec.campaigns.items() if _names(cap.counts, c, spec)]
        counted = [n for n in named if spec.campaigns[n].counts_toward_caps]
        if not named and spec.campaigns and cap.counts != Counts():
            yield (*path, "counts"), "no campaign is counted by this cap: it never holds anything back; check its keys"
        if not counted:
            continue
        if cap.at_most == 0:
            held = [n for n in counted if spec.campaigns[n].obeys_caps and not _is_transactional(spec, n)]
            if held:
                yield (
                    (*path, "at_most"),
                    f"allows nothing: {_listed(held)} can never be sent; raise `at_most`, or remove the campaign",
                )
        if cap.adapt is not None and cap.at_most is not None:
            most = max(cap.adapt.start, cap.adapt.to)
            if most > cap.at_most:
                yield (
                    (*path, "adapt"),
                    f"reaches {most}, and `at_most` is {cap.at_most}: what is above it never counts; raise `at_most`",
                )
            if cap.adapt.start == cap.adapt.to:
                yield (*path, "adapt"), f"`from` and `to` are both {cap.adapt.to}: nothing moves; write `at_most`"
        if all(_obeys(spec, n) for n in counted):
            yield from _pointless(name, cap, spec)


def _pointless(name: str, cap: Cap, spec: PlaybookSpec) -> Iterator[Found]:
    """A limit that the cap's spacing or another cap keeps by itself, a spacing that a limit does."""
    wider = {n: c for n, c in spec.caps.items() if c.per == cap.per and _is_wider(c.counts, cap.counts)}
    names = list(spec.caps)
    for other_name, other in wider.items():
        if other_name != name and _same(cap, other) and names.index(other_name) > names.index(name):
            continue  # of two equal ones the first stays
        allowed = _most_in(other, cap, is_itself=other_name == name)
        if cap.at_most is not None and allowed is not None and allowed <= _lowest(cap):
            why = "its own `at_least_apart`" if other_name == name else f"cap `{other_name}`"
            yield (
                ("caps", name, "at_most"),
                f"never reached: {why} lets at most {allowed} into {cap.window} already; lower it, or leave it out",
            )
            break
    for other_name, other in wider.items():
        if cap.at_least_apart is None or other.at_most != 1 or other.rolling is None:
            continue
        if other.rolling >= cap.at_least_apart:
            why = "the cap's own limit" if other_name == name else f"cap `{other_name}`"
            yield (
                ("caps", name, "at_least_apart"),
                f"never needed: {why} of 1 in {other.window} keeps them further apart; lengthen it, or leave it out",
            )
            break


def _lowest(cap: Cap) -> int:
    """The limit at its strictest."""
    limits = [cap.at_most or 0] if cap.adapt is None else [cap.at_most or 0, cap.adapt.start, cap.adapt.to]
    return min(limits)


def _most_in(other: Cap, cap: Cap, *, is_itself: bool) -> int | None:
    """The most sends that `other` lets into one window of `cap`; null when it sets no bound."""
    width = cap.rolling or _LONGEST.get(cap.calendar or "")
    if width is None:
        return None
    bounds = []
    if other.at_least_apart is not None and other.at_least_apart > timedelta(0):
        bounds.append(-(-width // other.at_least_apart))
    if other.at_most is not None and not is_itself:
        if other.rolling is not None and other.rolling > timedelta(0):
            bounds.append(other.at_most * -(-width // other.rolling))
        elif other.calendar is not None:
            cut = -(-width // _SHORTEST[other.calendar]) + 1
            bounds.append(other.at_most * _WHOLE.get((other.calendar, cap.calendar or ""), cut))
    return min(bounds, default=None)


def _same(cap: Cap, other: Cap) -> bool:
    return (cap.counts, cap.per, cap.at_most, cap.window) == (other.counts, other.per, other.at_most, other.window)


def _is_wider(wide: Counts, narrow: Counts) -> bool:
    """Whether `wide` counts all that `narrow` does."""
    return all(getattr(wide, f) in (None, getattr(narrow, f)) for f in type(wide).model_fields)


def _names(counts: Counts, campaign: Campaign, spec: PlaybookSpec) -> bool:
    """Whether a campaign fits these keys, on any of its channels; names that do not exist are errors elsewhere."""
    topic = spec.topics.get(campaign.topic)
    named = ((counts.topic, campaign.topic), (counts.purpose, topic.purpose if topic else None))
    return (
        all(wanted in (None, has) for wanted, has in named)
        and (counts.channel is None or counts.channel in campaign.channels)
        and (counts.tag is None or counts.tag in campaign.tags)
        and (counts.campaign is None or spec.campaigns.get(counts.campaign) is campaign)
    )


def _obeys(spec: PlaybookSpec, name: str) -> bool:
    return spec.campaigns[name].obeys_caps and not _is_transactional(spec, name)


def _is_transactional(spec: PlaybookSpec, name: str) -> bool:
    topic = spec.topics.get(spec.campaigns[name].topic)
    return topic is not None and topic.purpose == "transactional"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

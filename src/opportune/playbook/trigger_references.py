"""What a trigger alone cannot know: features, scores, audiences and occasions it names; what could never fire."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Any

from opportune.playbook.conditions import Names
from opportune.playbook.lines import Path
from opportune.playbook.nearest import hint, nearest
from opportune.playbook.triggers import On, Trigger

_PROPERTY = re.compile(r"^properties(\.\w+)+$")
_TRAIT = re.compile(r"^traits(\.\w+)+$")
_FEATURE = re.compile(r"^features\.(\w+)$")
#: path, message
Found = tuple[Path, str]
#: kind -> what every firing of it carries, so that a text needs no fallback. `event.years` is there with `every: year`.
_CARRIES: Mapping[str, tuple[str, ...]] = {
    "date": ("event.date", "event.days"),
    "replenishment": ("event.key", "event.predicted_at", "event.last_at", "event.gap_days"),
    "score": ("event.score",),
    "milestone": ("event.level", "event.value"),
}


def carried(trigger: Trigger | None) -> tuple[str, ...]:
    """Names that are there whenever this trigger fires; null: no trigger of its own, nothing is sure."""
    if trigger is None:
        return ()
    if trigger.change == "price_drop":
        return ("event.old_price", "event.old_price_minor", "event.price", "event.price_minor")
    if trigger.change == "low_stock":
        return ("event.stock",)
    is_yearly = trigger.kind == "date" and (trigger.every == "year" or (trigger.first and trigger.every is None))
    return (*_CARRIES.get(trigger.kind, ()), *(("event.years",) if is_yearly else ()))


def ons_of(name: str, trigger: Trigger) -> Iterator[tuple[Path, On]]:
    """Every event a trigger names, with its path."""
    for field in ("on", "unless", "steps", "interest"):
        for index, on in enumerate(getattr(trigger, field)):
            yield ("triggers", name, field, index), on
    if trigger.first is not None:
        yield ("triggers", name, "first"), trigger.first


def fault_of_text(path: Path, text: str, names: Names | None) -> str | None:
    """What is wrong with a name a trigger reads by; null when nothing is, or the text is none. `names` null: any."""
    key = path[-1]
    if key == "key":
        return None if _PROPERTY.match(text) else not_a_property(text)
    if len(path) != 3:
        return None
    if key == "date" and not (_PROPERTY.match(text) or _TRAIT.match(text)):
        return f"`{text}` is not where a day stands: write traits.birthday, or properties.expires_on with `on`"
    if key == "milestone":
        return _milestone_fault(text, names)
    if key == "score" and names and text not in names.scores:
        return f"unknown score `{text}`" + hint(text, names.scores)
    return None


def level_faults(triggers: object, names: Names | None) -> Iterator[Found]:
    """Levels that the watched feature never reaches because they are of another kind. `triggers`: as written."""
    for name, block in triggers.items() if isinstance(triggers, dict) else ():
        milestone, levels = (block.get("milestone"), block.get("levels")) if isinstance(block, dict) else (None, None)
        feature = _FEATURE.match(milestone) if isinstance(milestone, str) else None
        dtype = names.features.get(feature[1]) if names and feature else None
        is_text = dtype in ("str", "text")
        if dtype is None or dtype == "vector" or not isinstance(levels, list):
            continue
        for level in levels:
            if isinstance(level, str) != is_text:
                kind = "a text" if is_text else "a number"
                yield (
                    ("triggers", name, "levels"),
                    f"feature `{feature[1] if feature else ''}` is {kind}, `{level}` is not",
                )


def _milestone_fault(text: str, names: Names | None) -> str | None:
    feature = _FEATURE.match(text)
    if feature:
        name = feature[1]
        if names and name not in names.features:
            return f"unknown feature `{name}`" + hint(name, names.features)
        if names and names.features[name] == "vector":
            return f"feature `{name}` is a list: a milestone needs a single value"
        return None
    if _PROPERTY.match(text) or _TRAIT.match(text):
        return None
    return f"`{text}` is not a value: write features.orders_n_all, traits.tier, or properties.points with `on`"


def not_a_property(text: str) -> str:
    """The message for a text that should have been a property."""
    last = text.rsplit(".", 1)[-1]
    advice = f": write `properties.{last}`" if last.isidentifier() else ", like `properties.cart_id`"
    return f"`{text}` is not a property of an event{advice}"


def errors_in_trigger(name: str, trigger: Trigger, declared: Mapping[str, Mapping[str, Any]]) -> Iterator[Found]:
    """Names that do not exist and what could never fire."""
    path: Path = ("triggers", name)
    for at, on in ons_of(name, trigger):
        if not on.event.strip():
            yield (*at, "event"), "the event has no name"
    yield from _stop_errors(name, trigger)
    for field, section in (("entered", "audiences"), ("left", "audiences"), ("occasion", "occasions")):
        wanted = getattr(trigger, field)
        if wanted is not None and wanted not in declared[section]:
            yield (*path, field), unknown(section.removesuffix("s"), wanted, declared[section])
    for field, why in (
        ("wait", "an absence needs time to show: wait longer than 0"),
        ("in_", "nothing happens within no time: write a time like 24h"),
        ("inactive_for", "inactivity needs time to show: write a time like 30d"),
        ("expires_after", "every firing would be dropped: give it time, like 1h"),
        ("usual", "nothing is used up in no time: write a time like 30d"),
        ("within", "every interest would have expired: write a time like 90d"),
    ):
        span = getattr(trigger, field)
        if span is not None and span <= timedelta(0):
            yield (*path, field.rstrip("_")), why
    if trigger.starts_at and trigger.ends_at and trigger.ends_at <= trigger.starts_at:
        yield (*path, "ends_at"), "ends before it starts"


def _stop_errors(name: str, trigger: Trigger) -> Iterator[Found]:
    is_keyed = any(on.key is not None for on in trigger.on)
    for index, stop in enumerate(trigger.unless):
        path: Path = ("triggers", name, "unless", index)
        if stop.key is not None and not is_keyed:
            yield (*path, "key"), "`unless` has a key but `on` has none: give both the same kind of key, or none"
        if any(stop.event == on.event and stop.when == on.when and stop.key in (None, on.key) for on in trigger.on):
            yield path, f"`{stop.event}` both starts and stops this trigger: it would never fire"


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """The message for a name that is not declared."""
    if not known:
        return f"unknown {what} `{name}`: none is declared"
    near = nearest(name, known)
    return f"unknown {what} `{name}`" + (
        f"; did you mean `{near}`?" if near else f"; declared: {', '.join(sorted(known)[:12])}"
    )

"""What a trigger reads of one event: whether it is meant, which instance it belongs to, what stands at a path. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from opportune.domain.events import Event
from opportune.playbook.triggers import On

MAX_KEY = 200
#: Whether a condition (null: true) holds in an environment: `Playbook.holds`.
Holds = Callable[[str | None, Mapping[str, Any]], bool]
_NOTHING: Mapping[str, Any] = {}


def env_of(event: Event, traits: Mapping[str, Any]) -> dict[str, Any]:
    """What a condition on an arriving event may read."""
    return {
        "event": event.properties,
        "traits": traits,
        "context": event.context,
        "features": _NOTHING,
        "scores": _NOTHING,
    }


def is_meant(on: On, event: Event, traits: Mapping[str, Any], holds: Holds) -> bool:
    """Whether this is the event `on` names."""
    return on.event == event.name and (on.when is None or holds(on.when, env_of(event, traits)))


def value_at(root: Any, path: str) -> Any:
    """What stands at a dotted path of nested mappings; null: nothing."""
    for name in path.split("."):
        root = root.get(name) if isinstance(root, Mapping) else None
    return root


def key_of(event: Event, path: str | None) -> str | None:
    """The instance an event belongs to: a plain value at `properties.x`, `traits.x` or `context.x`; null when none."""
    return None if path is None else _as_key(value_at(*_rooted(event, path)))


def keys_of(event: Event, path: str | None) -> list[str]:
    """All instances an event belongs to, each once: as `key_of`, but lists on the way are looked through."""
    if path is None:
        return [""]
    found = (_as_key(value) for value in _through_lists(*_rooted(event, path)))
    return list(dict.fromkeys(key for key in found if key is not None))


def _rooted(event: Event, path: str) -> tuple[Any, str]:
    root, _, rest = path.partition(".")
    roots = {
        "properties": event.properties,
        "event": event.properties,
        "traits": event.traits,
        "context": event.context,
    }
    return (roots[root], rest) if root in roots and rest else (event.properties, path)


def _through_lists(value: Any, path: str) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _through_lists(item, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping):
        name, _, rest = path.partition(".")
        yield from _through_lists(value.get(name), rest)


def _as_key(value: Any) -> str | None:
    if value is None or isinstance(value, Mapping | list | tuple):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text[:MAX_KEY] or None

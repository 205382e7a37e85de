"""From merged YAML to a checked PlaybookSpec: what does not fit the schema, said in the playbook's own words."""

import copy
import json
import types
from collections.abc import Mapping
from pathlib import Path as File
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from opportune.playbook.journeys import END
from opportune.playbook.lines import Path
from opportune.playbook.nearest import hint, nearest
from opportune.playbook.references import NAMED
from opportune.playbook.schema import PlaybookSpec

Fault = tuple[Path, str]
#: Where a single value may stand for a list of one.
_SINGLE_OR_LIST = {
    "Trigger": ("on", "unless", "steps", "interest", "before", "after"),
    "Occasion": ("on",),
}


def fit(raw: Mapping[str, Any]) -> tuple[PlaybookSpec, list[Fault]]:
    """The playbook made of all that fits, and everything that does not: (path, message).

    What is wrong is cut out and the rest looked at again, so that one fault does not hide another.
    """
    rest = copy.deepcopy(dict(raw))
    faults: list[Fault] = []
    cut: set[Path] = set()
    for _ in range(20):
        try:
            return PlaybookSpec.model_validate(rest), faults
        except ValidationError as error:
            for item in error.errors(include_url=False):
                path = tuple(key for key in item["loc"] if key != "[key]")
                # what misses a part that was cut, or a block that is incomplete without it, is no new fault
                if not any(done[: len(path)] == path for done in cut):
                    faults.append((path, told(item, path)))
                gone = None if item["type"] == "missing" else _remove(rest, path)
                if gone != path or item["type"] != "extra_forbidden":  # but for an unknown key the block is as complete
                    cut.add(path)
                if gone is None:
                    _remove(rest, path[: 2 if path[0] in NAMED else 1])
    return PlaybookSpec(), faults


def _remove(tree: Any, path: Path) -> Path | None:
    """Take one value out, or the list it stands in; the path of what went, null when it is not there (any more)."""
    for index, key in enumerate(path):
        if isinstance(key, int) and isinstance(tree, dict):
            continue  # a single block where a list may stand
        if not isinstance(tree, dict) or key not in tree:
            return None
        if index == len(path) - 1 or isinstance(tree[key], list):
            del tree[key]
            return path[: index + 1]
        tree = tree[key]
    return None


def told(item: Any, path: Path) -> str:
    """One fault that pydantic found, in the playbook's own words."""
    kind, given, last = item["type"], item["input"], path[-1] if path else ""
    context = item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key `{last}`" + hint(str(last), keys_at(path[:-1]))
    if kind == "missing":
        return f"`{last}` is missing: add it"
    if kind == "literal_error":
        allowed = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
        near = nearest(str(given), allowed)
        return f"`{given}` is not one of {', '.join(allowed)}" + (f"; did you mean `{near}`?" if near else "")
    if kind == "string_pattern_mismatch":
        if path == ("currency",):
            return f"`{given}` is not a currency: three capital letters, like GBP"
        return f"`{given}` is not a name: lower-case letters, digits and _, a letter first, at most 64"
    if kind == "string_type":
        return f"expected a text, found {_shown(given)}: put it in quotes"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"expected keys and values here, found {_shown(given)}"
    if kind in ("tuple_type", "list_type"):
        return f"expected a list, like [a, b], found {_shown(given)}"
    if kind.startswith("time_"):
        return f"`{given}` is not an hour of the day: write it like 21:00"
    if kind.startswith("datetime_"):
        return f"`{given}` is not an instant: write it like 2026-03-01T09:00:00+00:00"
    text = str(item["msg"]).removeprefix("Value error, ")
    text = text[:1].lower() + text[1:] if text.startswith("Input") else text
    return text if kind == "value_error" else f"{text}, found {_shown(given)}"


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys and values"
    return "a list" if isinstance(value, list) else f"`{str(value)[:60]}`"


def keys_at(path: Path) -> list[str]:
    """The keys the schema allows in the block at `path`, as YAML writes them; empty where names are free."""
    kind: Any = PlaybookSpec
    for key in path:
        kind = _inside(kind, key)
    kind = _plain(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.alias or name for name, field in kind.model_fields.items()]
    return []


def _plain(kind: Any) -> Any:
    """The type without Annotated and without `| None`."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, types.UnionType):
            kind = next((arg for arg in get_args(kind) if arg is not type(None)), None)
        else:
            return kind


def _inside(kind: Any, key: str | int) -> Any:
    kind = _plain(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(key)) or next((f for f in kind.model_fields.values() if f.alias == key), None)
        return field.annotation if field else None
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    return None


def to_json_schema() -> dict[str, Any]:
    """The JSON Schema of a playbook file, for editors. Accepts what `load` accepts in one file."""
    schema = PlaybookSpec.model_json_schema(by_alias=True, mode="validation")
    schema["$defs"]["Trigger"].pop("required", None)  # `kind` is worked out when it is left out
    for block, fields in _SINGLE_OR_LIST.items():
        for field in fields:
            whole = schema["$defs"][block]["properties"][field]
            whole.pop("type"), whole.update(anyOf=[whole["items"], {"type": "array", "items": whole.pop("items")}])
    days = schema["$defs"]["Occasion"]["properties"]["countries"]["additionalProperties"]
    days.pop("type"), days.update(anyOf=[days["items"], {"type": "array", "items": days.pop("items")}])
    experiment = schema["$defs"]["Experiment"]["properties"]["share"]
    part = {"type": "number", "minimum": 0, "maximum": 1}
    whole = {"type": "array", "items": part, "minItems": 2, "maxItems": 2}
    schema["$defs"]["Experiment"]["properties"]["share"] = {
        "anyOf": [part, whole],
        **{key: experiment[key] for key in ("default", "description", "title")},
    }
    hours = {"QuietHours": ("start", "end"), "OpenHours": ("from", "to"), "Trigger": ("at",)}
    for block, field in ((block, field) for block, fields in hours.items() for field in fields):
        hour = schema["$defs"][block]["properties"][field]
        hour.pop("format", None)  # RFC 3339 `time` wants seconds and an offset
        hour["pattern"] = r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$"
    for block in ("Trigger", "Campaign", "Experiment"):
        for field in ("starts_at", "ends_at"):
            for choice in schema["$defs"][block]["properties"][field]["anyOf"]:
                choice.pop("format", None)  # a bare date is fine
    _shorten_journeys(schema["$defs"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Opportune playbook"}


def _shorten_journeys(blocks: dict[str, Any]) -> None:
    """The short spellings that a journey allows: a name for a message, a time for a wait, `end`, one exit."""
    step, journey = blocks["Step"]["properties"], blocks["Journey"]["properties"]
    step["message"]["anyOf"].append({"type": "string"})
    step["wait"]["anyOf"].append({"type": "string", "pattern": r"^\d+\s*[smhdw]$"})
    journey["steps"]["items"] = {"anyOf": [journey["steps"]["items"], {"const": END}]}
    leave = journey["exit"].pop("items")
    journey["exit"].pop("type")
    journey["exit"]["anyOf"] = [leave, {"type": "array", "items": leave}]
    journey["reentry"] = {
        "type": "string",
        "pattern": r"^(never|always|after \d+\s*[smhdw])$",
        **{key: journey["reentry"][key] for key in ("default", "description", "title")},
    }
    for choice in blocks["Pause"]["properties"]["until"]["anyOf"]:
        if choice.pop("format", None):
            choice["pattern"] = r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$"


if __name__ == "__main__":
    target = File(__file__).parent / "schema.json"
    target.write_text(json.dumps(to_json_schema(), indent=2) + "\n", encoding="utf-8")

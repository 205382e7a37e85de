"""The smallest change that makes a condition hold: which values it reads would have to be what.

Fewest values first. Numbers move exactly to the limit that stands in the condition; where a condition compares two
values, or computes, the plain name on one side moves. What cannot be told (`lower(x) == ...`) gives null.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opportune.playbook.conditions import compile_condition, value_of
from opportune.playbook.grammar import parse
from opportune.playbook.kinds import is_number
from opportune.playbook.tree import Call, Compare, Literal, Logic, Node, Not, Path

Env = Mapping[str, Any]
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "==", "in": "not in", "not in": "in"}
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_WORDS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least", "==": "", "!=": "other than"}
#: Stands for "whatever it is": a text that is equal to nothing somebody would write.
ANYTHING = "(anything)"


@dataclass(frozen=True, slots=True)
class Change:
    """One value that would have to be another. `name` is dotted; `found` is what it is, null when it is missing.

    `to` makes the condition hold; `needed` says it in words, like `at least 30`.
    """

    name: str
    found: Any
    to: Any
    needed: str

    def __str__(self) -> str:
        return f"{self.name} {self.needed} (it is {'missing' if self.found is None else self.found})"


def flip(text: str, env: Env, audiences: Mapping[str, str] | None = None) -> tuple[Change, ...] | None:
    """The fewest changes of `env` after which the condition is true: none when it is, null when that cannot be told.

    `audiences`: name -> condition, for `audience.<name>`. Raises ConditionInvalid for what is no condition.
    """
    changes = _toward(_spelled_out(parse(text), audiences or {}), env, True)
    if changes is None or not compile_condition(text, audiences=audiences).holds(changed(env, changes)):
        return None
    return changes


def _spelled_out(node: Node, audiences: Mapping[str, str]) -> Node:
    """The node with the condition of each audience in the place of its name."""
    if isinstance(node, Not):
        return Not(_spelled_out(node.operand, audiences), node.at)
    if isinstance(node, Logic):
        return Logic(node.word, tuple(_spelled_out(operand, audiences) for operand in node.operands), node.at)
    if isinstance(node, Path) and node.keys[0] == "audience" and str(node.keys[-1]) in audiences:
        return parse(audiences[str(node.keys[-1])])
    return node


def changed(env: Env, changes: tuple[Change, ...]) -> dict[str, Any]:
    """A copy of `env` in which these values are changed."""
    new = {root: dict(values) if isinstance(values, Mapping) else values for root, values in env.items()}
    for change in changes:
        root, *keys = change.name.split(".")
        place = new.setdefault(root, {})
        for key in keys[:-1]:
            inner = place.get(key)
            place[key] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[key]
        place[keys[-1]] = change.to
    return new


def _toward(node: Node, env: Env, wanted: bool) -> tuple[Change, ...] | None:
    """Changes after which the node is `wanted`; null: cannot be told."""
    if isinstance(node, Not):
        return _toward(node.operand, env, not wanted)
    if isinstance(node, Logic):
        needs_all = (node.word == "and") is wanted
        found = [_toward(operand, env, wanted) for operand in node.operands]
        if needs_all:
            return None if None in found else tuple(dict.fromkeys(c for part in found if part for c in part))
        possible = [part for part in found if part is not None]
        return min(possible, key=len) if possible else None
    if value_of(node, env) is True if wanted else value_of(node, env) is not True:
        return ()
    if isinstance(node, Compare):
        return _compare(node, env, wanted)
    if isinstance(node, Path):
        return (Change(node.dotted, value_of(node, env), wanted, str(wanted).lower()),)
    return _call(node, env) if isinstance(node, Call) and wanted else None


def _compare(node: Compare, env: Env, wanted: bool) -> tuple[Change, ...] | None:
    op, left, right = node.op, node.left, node.right
    if not isinstance(left, Path) and isinstance(right, Path) and op in _MIRROR:
        op, left, right = _MIRROR[op], right, left
    if not isinstance(left, Path):
        return None
    if not wanted:
        op = _OPPOSITE[op]
    found, limit = value_of(left, env), value_of(right, env)
    is_null = isinstance(right, Literal) and right.value is None
    if is_null:
        is_gone = op == "=="
        return (Change(left.dotted, found, None if is_gone else ANYTHING, "missing" if is_gone else "there"),)
    if op in ("in", "not in"):
        if op == "not in" or not isinstance(limit, list | tuple) or not limit:
            return (Change(left.dotted, found, ANYTHING, f"none of {_listed(limit)}"),) if op == "not in" else None
        return (Change(left.dotted, found, limit[0], f"one of {_listed(limit)}"),)
    if limit is None:
        return None
    if not is_number(limit):
        to = limit if op in ("==", "<=", ">=") else ANYTHING
        return (Change(left.dotted, found, to, f"{_WORDS[op]} {limit!r}".strip()),)
    step = {"<": -1, ">": 1, "!=": 1}.get(op, 0)
    to = limit + step if isinstance(limit, int) and isinstance(found, int) else _next(limit, step)
    return (Change(left.dotted, found, to, f"{_WORDS[op]} {limit:g}".strip()),)


def _next(limit: float, step: int) -> float:
    """The nearest number beyond the limit in the direction of `step`; the limit itself for 0."""
    return limit if step == 0 else math.nextafter(limit, math.inf * step)


def _call(node: Call, env: Env) -> tuple[Change, ...] | None:
    first = node.arguments[0] if node.arguments else None
    if not isinstance(first, Path):
        return None
    found = value_of(first, env)
    if node.name == "has":
        return (Change(first.dotted, found, ANYTHING, "there"),)
    part = value_of(node.arguments[1], env) if len(node.arguments) > 1 else None
    if part is None:
        return None
    making: dict[str, Callable[[], Any]] = {
        "contains": lambda: [*found, part] if isinstance(found, list | tuple) else part,
        "starts_with": lambda: part,
        "ends_with": lambda: part,
    }
    if node.name not in making:
        return None
    verb = {"contains": "with", "starts_with": "beginning with", "ends_with": "ending with"}[node.name]
    return (Change(first.dotted, found, making[node.name](), f"{verb} {part!r}"),)


def _listed(items: Any) -> str:
    return ", ".join(map(repr, items)) if isinstance(items, list | tuple) else repr(items)

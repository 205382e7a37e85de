"""The closures of conditions: the commonest comparisons without detours, because every decision asks hundreds."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from opportune.playbook.kinds import contains, is_number
from opportune.playbook.tree import Compare, Items, Literal, Node, Path

Env = Mapping[str, Any]
Value = Any
Read = Callable[[Env], Value]
Ask = Callable[[Env], bool]
OPS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
EMPTY: Mapping[str, Any] = {}


def all_of(is_and: bool, asks: tuple[Ask, ...]) -> Ask:
    """All of them, or any."""
    if len(asks) == 2:
        a, b = asks
        return (lambda env: a(env) and b(env)) if is_and else (lambda env: a(env) or b(env))
    if len(asks) == 3:
        a, b, c = asks
        return (lambda env: a(env) and b(env) and c(env)) if is_and else (lambda env: a(env) or b(env) or c(env))
    return (lambda env: all(ask(env) for ask in asks)) if is_and else (lambda env: any(ask(env) for ask in asks))


def reader(keys: tuple[str | int, ...]) -> Read:
    """What stands at a path; null: nothing."""
    if len(keys) == 2:
        root, name = map(str, keys)
        return lambda env: (env.get(root) or EMPTY).get(name)

    def read(env: Env) -> Value:
        value: Any = env
        for key in keys:
            if isinstance(value, Mapping):
                value = value.get(key)
            elif isinstance(key, int) and isinstance(value, list | tuple) and key < len(value):
                value = value[key]
            else:
                return None
        return value

    return read


def against_number(node: Compare, left: Read) -> Ask:
    """The commonest condition by far, `name op number`, without a second call for its name."""
    assert isinstance(node.right, Literal)
    op, limit = OPS[node.op], node.right.value
    if isinstance(node.left, Path) and len(node.left.keys) == 2:
        root, name = str(node.left.keys[0]), str(node.left.keys[1])

        def direct(env: Env) -> bool:
            value = (env.get(root) or EMPTY).get(name)
            kind = type(value)
            return (kind is float or kind is int or is_number(value)) and op(value, limit)

        return direct

    def general(env: Env) -> bool:
        value = left(env)
        return is_number(value) and bool(op(value, limit))

    return general


def function(name: str, reads: list[Read]) -> Read:
    """The closure of a function over its arguments."""
    first = reads[0]
    if name == "has":
        return lambda env: first(env) is not None
    if name == "lower":
        return lambda env: value.lower() if isinstance(value := first(env), str) else None
    if name == "size":
        return lambda env: len(value) if isinstance(value := first(env), str | list | tuple | Mapping) else None
    second = reads[1]
    if name == "contains":
        return lambda env: contains(first(env), second(env))
    method = str.startswith if name == "starts_with" else str.endswith

    def affix(env: Env) -> Value:
        text, part = first(env), second(env)
        return method(text, part) if isinstance(text, str) and isinstance(part, str) else False

    return affix


def against_text(node: Compare, left: Read) -> Ask:
    """`name == "text"` and `name != "text"`: false for null and for what is no text."""
    assert isinstance(node.right, Literal)
    text = node.right.value
    if node.op == "==":
        return lambda env: left(env) == text
    return lambda env: isinstance(value := left(env), str) and value != text


def texts_of(node: Node) -> frozenset[str] | None:
    """The texts of a list that holds nothing else; null for anything else."""
    if not isinstance(node, Items) or not all(
        isinstance(item, Literal) and isinstance(item.value, str) for item in node.items
    ):
        return None
    return frozenset(item.value for item in node.items if isinstance(item, Literal) and isinstance(item.value, str))


def among_texts(left: Read, texts: frozenset[str], negated: bool) -> Ask:
    """Whether a value is (or, negated, is not) one of these texts; false for null."""
    if negated:
        return lambda env: (value := left(env)) is not None and not (isinstance(value, str) and value in texts)
    return lambda env: isinstance(value := left(env), str) and value in texts

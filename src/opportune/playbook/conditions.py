"""Conditions: small expressions over one customer's moment, checked when loaded and compiled to closures.

Environment: `event` (the envelope's properties), `features`, `scores` (name -> probability), `traits`, `context`,
each a mapping. A missing name is null. Never true by accident: a comparison with null, or of two kinds (number, text,
true/false, list), is false, `!=` included; `x == null` and `x != null` ask for null. Arithmetic with null, with
another kind or by zero gives null. Where a truth is needed, only true counts; `not` turns the rest into true.

Why an own language: measured side by side, one condition of two comparisons took 0.6 us here, 8 us in a compiled CEL
binding and 1 ms in a pure Python CEL; in CEL a missing name is an error, not null.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from opportune.playbook.grammar import ConditionInvalid, parse
from opportune.playbook.kinds import ANY, LIST, NULL, NUMBER, TEXT, TRUTH, contains, is_number, kind_of, within
from opportune.playbook.nearest import hint
from opportune.playbook.tree import Arithmetic, Call, Compare, Items, Literal, Logic, Node, Not, Path

__all__ = ["ROOTS", "Condition", "ConditionInvalid", "Names", "compile_condition", "value_of"]

ROOTS = ("event", "features", "scores", "traits", "context")

Env = Mapping[str, Any]
Value = Any
_Read = Callable[[Env], Value]
_Ask = Callable[[Env], bool]

_KIND_OF_DTYPE = {"int": NUMBER, "float": NUMBER, "bool": TRUTH, "vector": LIST, "str": TEXT, "text": TEXT}
#: name -> (kinds of its arguments, kind of its result)
_FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "lower": ((TEXT,), TEXT),
    "contains": ((ANY, ANY), TRUTH),
    "starts_with": ((TEXT, TEXT), TRUTH),
    "ends_with": ((TEXT, TEXT), TRUTH),
    "size": ((ANY,), NUMBER),
    "has": ((ANY,), TRUTH),
}
_OPS: dict[str, Callable[[Any, Any], Any]] = {
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
_EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Names:
    """The names a condition may use. `features`: name -> dtype of the catalogue; `scores`: model names."""

    features: Mapping[str, str]
    scores: frozenset[str]


@dataclass(frozen=True, slots=True)
class Condition:
    """One compiled condition. `reads`: dotted names it may read, like `features.cart_value`."""

    text: str
    reads: frozenset[str]
    holds: Callable[[Env], bool]


def compile_condition(text: str, names: Names | None = None, roots: Sequence[str] = ROOTS) -> Condition:
    """Parse, check, compile. `names` null: any feature and score is accepted. Raises ConditionInvalid.

    `roots` are those known at the moment the condition is asked.
    """
    return _compile(text) if names is None and tuple(roots) == ROOTS else _check_and_compile(text, names, tuple(roots))


@lru_cache(maxsize=4096)
def _compile(text: str) -> Condition:
    return _check_and_compile(text, None, ROOTS)


def _check_and_compile(text: str, names: Names | None, roots: tuple[str, ...]) -> Condition:
    compiler = _Compiler(names, roots)
    holds = compiler.truth(parse(text))
    if compiler.problems:
        raise ConditionInvalid(text, sorted(compiler.problems))
    return Condition(text, frozenset(compiler.reads), holds)


def value_of(node: Node, env: Env) -> Value:
    """What a part of a condition is in `env`: null where it is missing or cannot be computed. Names are not checked."""
    return _Compiler(None, tuple(dict.fromkeys((*ROOTS, *env)))).value(node)[1](env)


class _Compiler:
    """Walks the tree once: collects problems and names, gives each node its kind and its closure."""

    def __init__(self, names: Names | None, roots: tuple[str, ...]) -> None:
        self.names = names
        self.roots = roots
        self.problems: list[tuple[int, str]] = []
        self.reads: set[str] = set()

    def fault(self, node: Node, message: str) -> None:
        self.problems.append((node.at, message))

    def truth(self, node: Node) -> _Ask:
        """The closure of a node used as a condition: always gives a bool."""
        if isinstance(node, Logic):
            return _all_of(node.word == "and", tuple(self.truth(operand) for operand in node.operands))
        if isinstance(node, Not):
            asked = self.truth(node.operand)
            return lambda env: not asked(env)
        if isinstance(node, Compare):
            return self.compare(node)
        kind, read = self.value(node)
        if kind not in (TRUTH, ANY):
            self.fault(node, f"a {kind} is not a condition: compare it, like `... > 0`")
        return lambda env: read(env) is True

    def value(self, node: Node) -> tuple[str, _Read]:
        """Kind and closure of a node used as a value."""
        if isinstance(node, Literal):
            value = node.value
            return kind_of(value), lambda env: value
        if isinstance(node, Path):
            return self.path(node)
        if isinstance(node, Items):
            reads = tuple(self.value(item)[1] for item in node.items)
            return LIST, lambda env: [read(env) for read in reads]
        if isinstance(node, Call):
            return self.call(node)
        if isinstance(node, Arithmetic):
            return NUMBER, self.arithmetic(node)
        return TRUTH, self.truth(node)

    def path(self, node: Path) -> tuple[str, _Read]:
        root, *rest = node.keys
        if root not in self.roots:
            if root in ROOTS:
                known = ", ".join(f"`{name}.*`" for name in self.roots)
                self.fault(node, f"`{root}` is not known at this point: only {known} can be read here")
            elif not rest and isinstance(root, str) and root in _FUNCTIONS:
                self.fault(node, f"`{root}` is a function: write `{root}(...)`")
            else:
                self.fault(
                    node,
                    f"unknown name `{node.dotted}`: names start with {', '.join(f'{name}.' for name in self.roots)}",
                )
        elif not rest:
            self.fault(node, f"`{root}` alone is not a value: write `{root}.<name>`")
        elif root == "event" and rest[0] == "properties":
            self.fault(
                node,
                f"`event` already is the event's properties: write `event.{'.'.join(map(str, rest[1:])) or '<name>'}`",
            )
        self.reads.add(node.dotted)
        return self.kind_of_path(node), _reader(node.keys)

    def kind_of_path(self, node: Path) -> str:
        root, *rest = node.keys
        if root not in ("features", "scores") or not rest:
            return ANY
        name = str(rest[0])
        if root == "scores":
            if self.names and name not in self.names.scores:
                self.fault(node, f"unknown score `{name}`" + hint(name, self.names.scores))
            return NUMBER if len(rest) == 1 else ANY
        if self.names is None:
            return ANY
        if name not in self.names.features:
            self.fault(node, f"unknown feature `{name}`" + hint(name, self.names.features))
            return ANY
        kind = _KIND_OF_DTYPE.get(self.names.features[name], ANY)
        return kind if len(rest) == 1 else ANY

    def need(self, node: Node, kind: str, wanted: str, what: str) -> None:
        if kind not in (wanted, ANY):
            self.fault(node, f"{what} needs a {wanted}, this is {'null' if kind == NULL else 'a ' + kind}")

    def arithmetic(self, node: Arithmetic) -> _Read:
        sides = [self.value(side) for side in (node.left, node.right)]
        for side, (kind, _) in zip((node.left, node.right), sides, strict=True):
            self.need(side, kind, NUMBER, f"`{node.op}`")
        op, left, right = _OPS[node.op], sides[0][1], sides[1][1]

        def compute(env: Env) -> Value:
            a, b = left(env), right(env)
            if not (is_number(a) and is_number(b)):
                return None
            try:
                result = op(a, b)
            except (ZeroDivisionError, OverflowError):
                return None
            return None if result - result != 0 else result  # infinity and not-a-number are null

        return compute

    def call(self, node: Call) -> tuple[str, _Read]:
        if node.name not in _FUNCTIONS:
            self.fault(node, f"unknown function `{node.name}`" + hint(node.name, _FUNCTIONS))
            return ANY, lambda env: None
        wanted, result = _FUNCTIONS[node.name]
        if len(node.arguments) != len(wanted):
            self.fault(
                node, f"`{node.name}` takes {len(wanted)} value{'s' * (len(wanted) > 1)}, not {len(node.arguments)}"
            )
            return result, lambda env: None
        reads = []
        for argument, kind in zip(node.arguments, wanted, strict=True):
            found, read = self.value(argument)
            if kind != ANY:
                self.need(argument, found, kind, f"`{node.name}`")
            reads.append(read)
        return result, _function(node.name, reads)

    def compare(self, node: Compare) -> _Ask:
        left_kind, left = self.value(node.left)
        right_kind, right = self.value(node.right)
        if node.op in ("in", "not in"):
            if right_kind == TEXT:
                self.fault(node.right, "`in` looks into a list: for a part of a text write `contains(text, part)`")
            elif right_kind not in (LIST, ANY):
                self.fault(
                    node.right, f"`in` needs a list, this is {'null' if right_kind == NULL else 'a ' + right_kind}"
                )
            negated = node.op == "not in"
            return lambda env: within(left(env), right(env), negated)
        if NULL in (left_kind, right_kind):
            if node.op not in ("==", "!="):
                self.fault(node, "null is not smaller or larger than anything: use `== null` or `!= null`")
            read, is_equal = (left if right_kind == NULL else right), node.op == "=="
            return (lambda env: read(env) is None) if is_equal else (lambda env: read(env) is not None)
        if ANY not in (left_kind, right_kind) and left_kind != right_kind:
            self.fault(node, f"a {left_kind} is never comparable with a {right_kind}")
        elif node.op not in ("==", "!=") and (bad := {left_kind, right_kind} & {TRUTH, LIST}):
            self.fault(node, f"a {bad.pop()} has no order: use `==` or `!=`")
        if right_kind == NUMBER and isinstance(node.right, Literal):
            return _against_number(node, left)
        op, ordered = _OPS[node.op], node.op not in ("==", "!=")

        def compare(env: Env) -> bool:
            a, b = left(env), right(env)
            kind = kind_of(a)
            if kind == NULL or kind != kind_of(b) or (ordered and kind not in (NUMBER, TEXT)):
                return False
            return bool(op(a, b))

        return compare


def _all_of(is_and: bool, asks: tuple[_Ask, ...]) -> _Ask:
    if len(asks) == 2:
        a, b = asks
        return (lambda env: a(env) and b(env)) if is_and else (lambda env: a(env) or b(env))
    return (lambda env: all(ask(env) for ask in asks)) if is_and else (lambda env: any(ask(env) for ask in asks))


def _reader(keys: tuple[str | int, ...]) -> _Read:
    if len(keys) == 2:
        root, name = map(str, keys)
        return lambda env: (env.get(root) or _EMPTY).get(name)

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


def _against_number(node: Compare, left: _Read) -> _Ask:
    """The commonest condition by far, `name op number`, without a second call for its name."""
    assert isinstance(node.right, Literal)
    op, limit = _OPS[node.op], node.right.value
    if isinstance(node.left, Path) and len(node.left.keys) == 2:
        root, name = str(node.left.keys[0]), str(node.left.keys[1])

        def direct(env: Env) -> bool:
            value = (env.get(root) or _EMPTY).get(name)
            kind = type(value)
            return (kind is float or kind is int or is_number(value)) and op(value, limit)

        return direct

    def general(env: Env) -> bool:
        value = left(env)
        return is_number(value) and bool(op(value, limit))

    return general


def _function(name: str, reads: list[_Read]) -> _Read:
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

"""Conditions: small expressions over one customer's moment, checked when loaded and compiled to closures.

Environment: `event` (the envelope's properties), `item` (of a catalogue trigger), `features`, `scores` (name ->
probability), `traits`, `context`, each a mapping; `audience.<name>` is the condition of that audience, asked in the
same moment. A missing name is null. Never true by accident: a comparison with null, or of two kinds (number, text,
true/false, list), is false, `!=` included; `x == null` and `x != null` ask for null. Arithmetic with null, with
another kind or by zero gives null. Where a truth is needed, only true counts; `not` turns the rest into true.

Why an own language: measured side by side, one condition of two comparisons took 0.6 us here, 8 us in a compiled CEL
binding and 1 ms in a pure Python CEL; in CEL a missing name is an error, not null.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from opportune.playbook.closures import (
    OPS,
    Ask,
    Env,
    Read,
    Value,
    against_number,
    against_text,
    all_of,
    among_texts,
    function,
    reader,
    texts_of,
)
from opportune.playbook.grammar import ConditionInvalid, parse
from opportune.playbook.kinds import (
    ANY,
    ITEM_FIELDS,
    LIST,
    NULL,
    NUMBER,
    OWN_BELOW,
    TEXT,
    TRUTH,
    is_number,
    kind_of,
    within,
)
from opportune.playbook.nearest import hint
from opportune.playbook.tree import Arithmetic, Call, Compare, Items, Literal, Logic, Node, Not, Path

__all__ = ["AUDIENCE_ROOTS", "ROOTS", "Condition", "ConditionInvalid", "Names", "compile_condition", "value_of"]

ROOTS = ("event", "item", "features", "scores", "traits", "context", "audience")
#: What an audience may read: nothing that depends on the request.
AUDIENCE_ROOTS = ("features", "traits", "scores")

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


def compile_condition(
    text: str,
    names: Names | None = None,
    roots: Sequence[str] = ROOTS,
    audiences: Mapping[str, str] | None = None,
) -> Condition:
    """Parse, check, compile. `names` null: any feature and score is accepted. Raises ConditionInvalid.

    `roots` are those known at the moment the condition is asked. `audiences`: name -> condition; null: there are none.
    """
    if names is None and tuple(roots) == ROOTS and not audiences:
        return _compile(text)
    return _check_and_compile(text, names, tuple(roots), audiences or {})


@lru_cache(maxsize=4096)
def _compile(text: str) -> Condition:
    return _check_and_compile(text, None, ROOTS, {})


def _check_and_compile(
    text: str, names: Names | None, roots: tuple[str, ...], audiences: Mapping[str, str]
) -> Condition:
    compiler = _Compiler(names, roots, audiences)
    holds = compiler.truth(parse(text))
    if compiler.problems:
        raise ConditionInvalid(text, sorted(compiler.problems))
    return Condition(text, frozenset(compiler.reads), holds)


def value_of(node: Node, env: Env) -> Value:
    """What a part of a condition is in `env`: null where it is missing or cannot be computed. Names are not checked."""
    return _Compiler(None, tuple(dict.fromkeys((*ROOTS, *env))), {}).value(node)[1](env)


class _Compiler:
    """Walks the tree once: collects problems and names, gives each node its kind and its closure."""

    def __init__(self, names: Names | None, roots: tuple[str, ...], audiences: Mapping[str, str]) -> None:
        self.names = names
        self.audiences = audiences
        self.roots = roots
        self.problems: list[tuple[int, str]] = []
        self.reads: set[str] = set()

    def fault(self, node: Node, message: str) -> None:
        self.problems.append((node.at, message))

    def truth(self, node: Node) -> Ask:
        """The closure of a node used as a condition: always gives a bool."""
        if isinstance(node, Logic):
            return all_of(node.word == "and", tuple(self.truth(operand) for operand in node.operands))
        if isinstance(node, Not):
            asked = self.truth(node.operand)
            return lambda env: not asked(env)
        if isinstance(node, Compare):
            return self.compare(node)
        kind, read = self.value(node)
        if kind not in (TRUTH, ANY):
            self.fault(node, f"a {kind} is not a condition: compare it, like `... > 0`")
        return lambda env: read(env) is True

    def value(self, node: Node) -> tuple[str, Read]:
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

    def path(self, node: Path) -> tuple[str, Read]:
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
        elif root == "audience":
            return TRUTH, self.audience(node, str(rest[0]), len(rest) > 1)
        self.reads.add(node.dotted)
        return self.kind_of_path(node), reader(node.keys)

    def audience(self, node: Path, name: str, is_deeper: bool) -> Ask:
        """The condition of an audience in the place of its name. What is wrong inside it is said where it stands."""
        if name not in self.audiences or is_deeper:
            self.fault(node, f"unknown audience `{node.dotted[9:]}`" + hint(name, self.audiences))
            return lambda env: False
        try:
            inner = _check_and_compile(self.audiences[name], None, AUDIENCE_ROOTS, {})
        except ConditionInvalid:
            return lambda env: False
        self.reads |= inner.reads
        return inner.holds

    def kind_of_path(self, node: Path) -> str:
        root, *rest = node.keys
        if root not in ("features", "scores", "item") or not rest:
            return ANY
        name = str(rest[0])
        if root == "item":
            if self.names and name not in ITEM_FIELDS:
                self.fault(node, f"unknown field `{name}` of an item" + hint(name, ITEM_FIELDS) + OWN_BELOW)
            return ITEM_FIELDS.get(name, ANY) if len(rest) == 1 else ANY
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

    def arithmetic(self, node: Arithmetic) -> Read:
        sides = [self.value(side) for side in (node.left, node.right)]
        for side, (kind, _) in zip((node.left, node.right), sides, strict=True):
            self.need(side, kind, NUMBER, f"`{node.op}`")
        op, left, right = OPS[node.op], sides[0][1], sides[1][1]

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

    def call(self, node: Call) -> tuple[str, Read]:
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
        return result, function(node.name, reads)

    def compare(self, node: Compare) -> Ask:
        left_kind, left = self.value(node.left)
        right_kind, right = self.value(node.right)
        if node.op in ("in", "not in"):
            if right_kind == TEXT:
                self.fault(node.right, "`in` looks into a list: for a part of a text write `contains(text, part)`")
            elif right_kind not in (LIST, ANY):
                self.fault(
                    node.right, f"`in` needs a list, this is {'null' if right_kind == NULL else 'a ' + right_kind}"
                )
            negated, texts = node.op == "not in", texts_of(node.right)
            if texts is not None:
                return among_texts(left, texts, negated)
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
            return against_number(node, left)
        if right_kind == TEXT and isinstance(node.right, Literal) and node.op in ("==", "!="):
            return against_text(node, left)
        op, ordered = OPS[node.op], node.op not in ("==", "!=")

        def compare(env: Env) -> bool:
            a, b = left(env), right(env)
            kind = kind_of(a)
            if kind == NULL or kind != kind_of(b) or (ordered and kind not in (NUMBER, TEXT)):
                return False
            return bool(op(a, b))

        return compare

"""The grammar of conditions: text to a tree whose nodes know their place. No evaluation, no Python parser.

    or    := and (("or" | "||") and)*            sum     := product (("+" | "-") product)*
    and   := not (("and" | "&&") not)*           product := unary (("*" | "/") unary)*
    not   := "not" not | compare                 unary   := ("-" | "!") unary | primary
    compare := sum (OP sum)*                     primary := literal | name | name "(" list ")"
                                                            | "(" or ")" | "[" list "]"

OP is one of == != < <= > >= in, not in. A name is dotted; `["any text"]` and `[0]` reach further into it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from opportune.playbook.tree import Arithmetic, Call, Compare, Items, Literal, Logic, Node, Not, Path, Scalar

MAX_LENGTH = 2000
MAX_DEPTH = 40


class ConditionInvalid(ValueError):
    """A condition that cannot be used. `problems`: (character, counted from 1; message) of each fault."""

    def __init__(self, text: str, problems: list[tuple[int, str]]) -> None:
        self.text = text
        self.problems = problems
        super().__init__("; ".join(f"`{text}`, character {at}: {message}" for at, message in problems))


_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?(?![\w.]))
  | (?P<name>[^\W\d]\w*)
  | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
  | (?P<op>&&|\|\||==|!=|<=|>=|[<>!+\-*/(),.\[\]])
    """,
    re.VERBOSE,
)
_WORDS = {"True": "true", "False": "false", "None": "null", "nil": "null", "AND": "and", "OR": "or", "NOT": "not"}
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_CONSTANTS: dict[str, Scalar] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, name, text, op, end
    text: str
    at: int


def _fault(source: str, at: int, message: str) -> ConditionInvalid:
    return ConditionInvalid(source, [(at, message)])


def _tokens(source: str) -> list[_Token]:
    if len(source) > MAX_LENGTH:
        raise _fault(source[:60] + "...", MAX_LENGTH, f"longer than {MAX_LENGTH} characters: split it")
    tokens: list[_Token] = []
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise _fault(source, position + 1, _unreadable(source, position))
        kind = str(match.lastgroup)
        if kind != "space":
            word = match.group()
            word = _WORDS.get(word, word) if kind == "name" else word
            kind = "op" if word in ("and", "or", "not", "in") else kind
            tokens.append(_Token(kind, word, position + 1))
        position = match.end()
    tokens.append(_Token("end", "", len(source) + 1))
    return tokens


def _unreadable(source: str, position: int) -> str:
    sign = source[position]
    if sign == "=":
        return "`=` does not compare: write `==`"
    if sign in "\"'":
        return "this text has no closing quote"
    if sign.isdigit():
        return "this number cannot be read"
    if sign in "&|":
        return f"write `{sign}{sign}` or `{'and' if sign == '&' else 'or'}`"
    return f"`{sign}` has no meaning here"


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = _tokens(source)
        self.next = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self, *ops: str) -> _Token | None:
        """The current token when it is one of these operators, moving on; else null."""
        token = self.token
        if token.kind == "op" and token.text in ops:
            self.next += 1
            return token
        return None

    def expect(self, op: str, opened: _Token) -> None:
        if self.take(op) is None:
            raise self.fault(
                f"expected `{op}` to close the `{opened.text}` at character {opened.at}, found {self.found()}"
            )

    def found(self) -> str:
        return "the end" if self.token.kind == "end" else f"`{self.token.text}`"

    def fault(self, message: str) -> ConditionInvalid:
        return _fault(self.source, self.token.at, message)

    def whole(self) -> Node:
        if self.token.kind == "end":
            raise self.fault("the condition is empty: leave the key out to ask nothing")
        node = self.either()
        if self.token.kind != "end":
            raise self.fault(f"expected `and`, `or` or the end, found {self.found()}")
        return node

    def either(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fault(f"nested deeper than {MAX_DEPTH} levels: split it")
        node = self.logic("or", ("or", "||"), self.both)
        self.depth -= 1
        return node

    def both(self) -> Node:
        return self.logic("and", ("and", "&&"), self.negation)

    def logic(self, word: str, ops: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        first = operand()
        operands = [first]
        while self.take(*ops):
            operands.append(operand())
        return first if len(operands) == 1 else Logic(word, tuple(operands), first.at)

    def negation(self) -> Node:
        signs = []
        while token := self.take("not"):
            signs.append(token)
        node = self.comparison()
        for token in reversed(signs):
            node = Not(node, token.at)
        return node

    def comparison(self) -> Node:
        left = self.sum()
        pairs: list[Node] = []
        while True:
            token = self.take(*_COMPARISONS, "in", "not")
            if token is None:
                break
            op = token.text
            if op == "not":
                if self.take("in") is None:
                    raise self.fault(f"expected `in` after `not`, found {self.found()}")
                op = "not in"
            right = self.sum()
            pairs.append(Compare(op, left, right, token.at))
            left = right
        if not pairs:
            return left
        return pairs[0] if len(pairs) == 1 else Logic("and", tuple(pairs), pairs[0].at)

    def sum(self) -> Node:
        return self.arithmetic(("+", "-"), self.product)

    def product(self) -> Node:
        return self.arithmetic(("*", "/"), self.unary)

    def arithmetic(self, ops: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        node = operand()
        count = 0
        while token := self.take(*ops):
            count += 1
            if count > MAX_DEPTH:
                raise self.fault(f"more than {MAX_DEPTH} operations in a row: split it")
            node = Arithmetic(token.text, node, operand(), token.at)
        return node

    def unary(self) -> Node:
        signs = []
        while token := self.take("-", "!"):
            signs.append(token)
            if len(signs) > MAX_DEPTH:
                raise self.fault(f"more than {MAX_DEPTH} signs in a row")
        node = self.primary()
        for token in reversed(signs):
            if token.text == "!":
                node = Not(node, token.at)
            elif isinstance(node, Literal) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
                node = Literal(-node.value, token.at)
            else:
                node = Arithmetic("-", Literal(0, token.at), node, token.at)
        return node

    def primary(self) -> Node:
        token = self.token
        if opened := self.take("("):
            node = self.either()
            self.expect(")", opened)
            return node
        if opened := self.take("["):
            return Items(self.listed("]", opened), opened.at)
        if token.kind == "end":
            raise self.fault("expected a value, found the end")
        if token.kind == "op":
            raise self.fault(f"expected a value, found `{token.text}`")
        self.next += 1
        if token.kind == "number":
            return Literal(self.number(token), token.at)
        if token.kind == "text":
            return Literal(_unquote(token.text), token.at)
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text], token.at)
        if opened := self.take("("):
            return Call(token.text, self.listed(")", opened), token.at)
        return self.path(token)

    def number(self, token: _Token) -> int | float:
        if len(token.text) > 20:
            raise _fault(self.source, token.at, "this number has more than 20 characters")
        value = float(token.text)
        if value in (float("inf"), float("-inf")):
            raise _fault(self.source, token.at, "this number is too large")
        return value if any(sign in token.text for sign in ".eE") else int(token.text)

    def listed(self, closing: str, opened: _Token) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self.take(closing):
            items.append(self.either())
            if not self.take(","):
                self.expect(closing, opened)
                break
        return tuple(items)

    def path(self, first: _Token) -> Node:
        keys: list[str | int] = [first.text]
        while True:
            if self.take("."):
                token = self.token
                if not (token.kind in ("name", "op") and token.text.isidentifier()):
                    raise self.fault(f"expected a name after the dot, found {self.found()}")
                self.next += 1
                keys.append(token.text)
            elif opened := self.take("["):
                token = self.token
                if token.kind == "text":
                    keys.append(_unquote(token.text))
                elif token.kind == "number" and token.text.isdigit() and len(token.text) < 7:
                    keys.append(int(token.text))
                else:
                    raise self.fault('expected a text in quotes or a whole number, like ["plan name"] or [0]')
                self.next += 1
                self.expect("]", opened)
            else:
                return Path(tuple(keys), first.at)


def _unquote(token: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), token[1:-1])


def parse(source: str) -> Node:
    """The tree of a condition. Raises ConditionInvalid with the character at fault."""
    return _Parser(source).whole()

"""The template language: Liquid with a fixed set of tags and filters, and limits on everything a template can use up.

A render ends within `RENDER_LIMIT_S`: the time is looked at on every name, filter, assignment and write, and no single
step between can be long, because loops, texts, lists and numbers are bounded. There is no access to files, to other
templates, to attributes of objects or to the wall clock: the same names always give the same text.
"""

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache, wraps
from io import StringIO
from time import thread_time
from typing import Any

from liquid import Environment, RenderContext
from liquid.ast import Node
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.exceptions import LiquidError, ResourceLimitError, UnknownFilterError
from liquid.template import BoundTemplate

from opportune.playbook.kinds import ITEM_FIELDS, OWN_BELOW
from opportune.playbook.nearest import hint

RENDER_LIMIT_S = 0.05  # of this thread's own computing: a busy machine fails no template
MAX_LENGTH = 256_000
MAX_ITEMS = 1_000
MAX_LOOP_STEPS = 10_000

NAMES = ("customer_id", "unsubscribe_url", "preferences_url")
ROOTS = ("traits", "event", "item", "features", "scores", "context", *NAMES)
_TAGS = {
    *("if", "unless", "case", "for", "break", "continue", "assign", "capture", "cycle", "comment", "raw", "echo"),
    *("liquid", "#", "content", "output", "literal", "illegal", "statement"),
}
_FILTERS = {
    *("abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "round", "times"),
    *("append", "capitalize", "downcase", "escape", "escape_once", "lstrip", "newline_to_br", "prepend", "remove"),
    *("remove_first", "remove_last", "replace", "replace_first", "replace_last", "rstrip", "slice", "split", "squish"),
    *("strip", "strip_newlines", "truncate", "truncatewords", "upcase", "url_encode", "url_decode"),
    *("compact", "concat", "first", "join", "last", "map", "reverse", "size", "sort", "sort_natural", "sum", "where"),
    *("date", "default"),
}


class TemplateInvalid(ValueError):
    """A template that cannot be used. `problems`: (line within the text, from 1; message)."""

    def __init__(self, problems: list[tuple[int, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"line {line}: {message}" for line, message in problems))


#: What a render may raise: a template fault, or a filter given a value it cannot work with.
RENDER_ERRORS = (
    *(LiquidError, ArithmeticError, ValueError, TypeError, LookupError, AttributeError),
    *(RecursionError, MemoryError, OSError),
)


class TimeLimitError(ResourceLimitError):
    """The template took longer than it may."""


class _Buffer(StringIO):
    """Output bounded in characters and, with its context, in time."""

    def __init__(self, context: "_Context") -> None:
        super().__init__()
        self.context = context
        self.length = 0

    def write(self, text: str) -> int:
        self.context.look_at_time()
        self.length += len(text)
        if self.length > MAX_LENGTH:
            raise ResourceLimitError(f"the text is longer than {MAX_LENGTH} characters", token=None)
        return super().write(text)


class _Context(RenderContext):
    __slots__ = ("deadline",)
    deadline: float

    def look_at_time(self) -> None:
        if thread_time() > self.deadline:
            raise TimeLimitError(f"rendering took longer than {RENDER_LIMIT_S * 1000:.0f} ms", token=None)

    def get(self, *args: Any, **kwargs: Any) -> object:
        self.look_at_time()
        return super().get(*args, **kwargs)

    def filter(self, *args: Any, **kwargs: Any) -> Callable[..., object]:
        self.look_at_time()
        return super().filter(*args, **kwargs)

    def assign(self, key: str, val: Any) -> None:
        self.look_at_time()
        super().assign(key, val)


class _Environment(Environment):
    block_nesting_limit = 20
    context_depth_limit = 20
    loop_iteration_limit = MAX_LOOP_STEPS
    local_namespace_limit = 1_000_000
    output_stream_limit = MAX_LENGTH

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=False)
        self.tags = {name: tag for name, tag in self.tags.items() if name in _TAGS}
        self.filters = {name: _bounded(name, call) for name, call in self.filters.items() if name in _FILTERS}
        self.filters["money"] = _bounded("money", money)


def money(value: object) -> str:
    """An amount in major units, two decimals, thousands apart: 1234.5 is `1,234.50`. Empty for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return ""
    try:
        amount = Decimal(str(value))
        return f"{amount.quantize(Decimal('0.01'), rounding=ROUND_HALF_EVEN):,}" if amount.is_finite() else ""
    except InvalidOperation:
        return ""


def _check_size(value: object, name: str) -> None:
    if isinstance(value, str):
        is_large = len(value) > MAX_LENGTH
    elif isinstance(value, range):
        is_large = value.stop - value.start > MAX_ITEMS
    elif isinstance(value, int):
        is_large = value.bit_length() > 128
    else:
        is_large = isinstance(value, list | tuple | Mapping) and len(value) > MAX_ITEMS
    if is_large:
        raise ResourceLimitError(f"a value given to or made by the filter `{name}` is too large", token=None)


def _bounded(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same filter with bounds on what goes in and comes out."""

    @wraps(call)
    def filtered(value: object, *args: object, **kwargs: Any) -> object:
        for item in (value, *args):
            _check_size(item, name)
        if name == "date":
            value = _instant(value)
            if isinstance(value, str):
                return value
        if name in ("replace", "replace_first", "replace_last") and len(args) == 2:
            _check_growth(str(value).count(str(args[0])), str(args[1]), name)
        elif name == "join" and isinstance(value, list | tuple | range) and args:
            _check_growth(len(value), str(args[0]), name)
        result = call(value, *args, **kwargs)
        _check_size(result, name)
        return result

    return filtered


def _instant(value: object) -> object:
    """What `date` may format: an ISO date or instant, or seconds since 1970. Other text comes back as it is.

    Without this the filter would fill what a text leaves out from the machine's own clock and zone.
    """
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("now", "today"):
            raise ResourceLimitError(
                "`date` formats an instant that is given: `now` and `today` are not known", token=None
            )
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    return value


def _check_growth(count: int, piece: str, name: str) -> None:
    if count * len(piece) > MAX_LENGTH:
        raise ResourceLimitError(
            f"the filter `{name}` would make a text of more than {MAX_LENGTH} characters", token=None
        )


_ENVIRONMENTS = {escape: _Environment(autoescape=escape) for escape in (False, True)}


@dataclass(frozen=True, slots=True)
class Template:
    """One parsed template: immutable, shared by threads."""

    bound: BoundTemplate
    text: str = ""
    is_fixed: bool = False  # holds no tag and no name: its text is the answer

    def render(self, names: Mapping[str, Any]) -> str:
        """The text for these names. An unknown name is empty. Raises LiquidError, or what a filter raises."""
        if self.is_fixed:
            return self.text
        before = _collections()
        try:
            return self._written(names)
        except TimeLimitError:
            if _collections() == before:
                raise
            return self._written(names)  # a collection of all garbage fell into it, which is not the template's time

    def _written(self, names: Mapping[str, Any]) -> str:
        context = _Context(self.bound, globals=names)
        context.deadline = thread_time() + RENDER_LIMIT_S
        buffer = _Buffer(context)
        self.bound.render_with_context(context, buffer)
        return buffer.getvalue()


def _collections() -> int:
    """How often this process has collected all of its garbage."""
    return int(gc.get_stats()[2]["collections"])


@lru_cache(maxsize=8192)
def parse_template(text: str, escape: bool) -> Template:
    """Parse once. `escape`: values are HTML-escaped where they are written. Raises TemplateInvalid."""
    try:
        bound = _ENVIRONMENTS[escape].from_string(text)
        return Template(bound, text, is_fixed="{{" not in text and "{%" not in text)
    except LiquidError as error:
        at = max(error.token.start_index, 0) if error.token is not None else 0
        raise TemplateInvalid([(text[:at].count("\n") + 1, str(error.message))]) from error
    except RecursionError as error:
        raise TemplateInvalid([(1, "the template is nested too deeply")]) from error


def check_template(text: str, features: Mapping[str, str] | None) -> list[tuple[int, str]]:
    """Everything that will not work in a template: (line, message). `features` null: any feature name is accepted."""
    try:
        bound = parse_template(text, False).bound
    except TemplateInvalid as error:
        return error.problems
    problems = []
    analysis = bound.analyze()
    for found in analysis.globals.values():
        for variable in found:
            line = text[: variable.span.index].count("\n") + 1
            root, *rest = variable.segments
            if root not in ROOTS:
                problems.append(
                    (line, f"unknown name `{variable}`: names start with {', '.join(ROOTS)}" + hint(str(root), ROOTS))
                )
            elif root == "event" and rest[:1] == ["properties"]:
                problems.append((line, "`event` already is the event's properties: leave `properties` out"))
            elif (
                root == "features"
                and features is not None
                and rest
                and isinstance(rest[0], str)
                and rest[0] not in features
            ):
                problems.append((line, f"unknown feature `{rest[0]}`" + hint(rest[0], features)))
            elif root == "item" and rest and isinstance(rest[0], str) and rest[0] not in ITEM_FIELDS:
                problems.append(
                    (line, f"unknown field `{rest[0]}` of an item" + hint(rest[0], ITEM_FIELDS) + OWN_BELOW)
                )
    if not problems:
        problems.extend(_trial(bound))
    for name, spans in analysis.filters.items():
        if name not in bound.env.filters:
            line = text[: spans[0].index].count("\n") + 1
            problems.append((line, f"unknown filter `{name}`" + hint(name, bound.env.filters)))
    return problems


def _trial(bound: BoundTemplate) -> list[tuple[int, str]]:
    """What goes wrong when every name is missing: the commonest surprise in production."""
    names: dict[str, Any] = {root: {} for root in ROOTS if root not in NAMES} | {"customer_id": "c1"}
    try:
        try:
            Template(bound).render(names)
        except TimeLimitError:  # a collection of garbage may have fallen into it: once more
            Template(bound).render(names)
    except UnknownFilterError:
        return []  # named by the caller
    except RENDER_ERRORS as error:
        return [(1, f"fails when every name is missing: {describe(error)}")]
    return []


def describe(error: Exception) -> str:
    """One line about why a render failed."""
    return str(error.message) if isinstance(error, LiquidError) else f"{type(error).__name__}: {error}"


def without_fallback(text: str) -> list[tuple[int, str]]:
    """Traits and event properties written out without `default`: (line, name). The text must parse."""
    bound = parse_template(text, False).bound
    return [
        (text[: path.token.start_index].count("\n") + 1, str(path))
        for expression in _written(bound.nodes)
        if isinstance(path := expression.left, Path)
        and str(path.path[0]) in ("traits", "event")
        and not any(f.name == "default" for f in expression.filters or ())
    ]


def _written(nodes: list[Node]) -> Iterator[FilteredExpression]:
    """Expressions of output statements outside any tag; inside an `if` the author has looked."""
    for node in nodes:
        if node.token.kind == "output":
            for expression in node.expressions():
                if isinstance(expression, FilteredExpression):
                    yield expression

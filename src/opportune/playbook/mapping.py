"""A column mapping: how the rows of somebody's file become events. Declared in YAML, checked like a playbook.

event: Order Completed          # the same for every row; or event_column, with event_names for what it says
user_id: customer
timestamp: created_at
zone: Europe/London             # of times without an offset; default UTC
properties: {order_id: order, total: amount}
types: {amount: number}         # columns of text that hold something else
traits: {email: mail}
"""

from collections.abc import Mapping
from pathlib import Path as File
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, ValidationError, model_validator

from opportune.playbook.lines import YamlInvalid, read_yaml
from opportune.playbook.problems import PlaybookInvalid, Problem
from opportune.playbook.values import Block

Kind = Literal["text", "number", "integer", "boolean"]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"'{name}' is no zone of the IANA database: write it like Europe/London") from None
    return name


class ColumnMapping(Block):
    """One file's columns. Every value that names a column names one of the file; JSON lines: dotted paths."""

    event: str | None = Field(None, description="Name of every row's event.")
    event_column: str | None = Field(None, description="Column that names the event.")
    event_names: dict[str, str | None] = Field(
        default_factory=dict, description="What the column says -> event; null: the row is left out. Others stay."
    )
    user_id: str | None = None
    anonymous_id: str | None = None
    timestamp: str
    timestamp_format: str = Field("iso", description="iso, unix_s, unix_ms, or a pattern like %d/%m/%Y %H:%M.")
    zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    message_id: str | None = Field(None, description="Column that names each row once; null: named by its content.")
    properties: dict[str, str] = Field(default_factory=dict, description="Property -> column.")
    product: dict[str, str] = Field(
        default_factory=dict, description="Field -> column: an entry of `products` on orders, else the event's own."
    )
    traits: dict[str, str] = Field(default_factory=dict, description="Trait -> column: the row also identifies.")
    types: dict[str, Kind] = Field(default_factory=dict, description="Column -> what its text holds. Default: text.")
    decimal: Literal[".", ","] = Field(".", description="Mark before the decimals; the other may group thousands.")
    delimiter: str = Field(",", min_length=1, max_length=1)

    @model_validator(mode="after")
    def _complete(self) -> "ColumnMapping":
        if self.user_id is None and self.anonymous_id is None:
            raise ValueError("name a column under `user_id` or `anonymous_id`: somebody must own the event")
        if self.event is not None and self.event_column is not None:
            raise ValueError("give `event` or `event_column`, not both")
        if self.event is None and self.event_column is None and not self.traits:
            raise ValueError("give `event` (a name) or `event_column`; without either, rows need `traits` to set")
        if self.event_names and self.event_column is None:
            raise ValueError("`event_names` says what `event_column` holds: name that column")
        unused = sorted(set(self.types) - set(self.columns))
        if unused:
            raise ValueError(f"`types` names the column '{unused[0]}', which the mapping does not use")
        return self

    @property
    def columns(self) -> list[str]:
        """Every column that is read, once, in the order of the mapping."""
        single = (self.event_column, self.user_id, self.anonymous_id, self.timestamp, self.message_id)
        named = (self.properties, self.product, self.traits)
        return list(dict.fromkeys([*(c for c in single if c is not None), *(c for m in named for c in m.values())]))

    def key_of(self, column: str) -> str:
        """The key of the mapping that names this column, for messages."""
        for key in ("event_column", "user_id", "anonymous_id", "timestamp", "message_id"):
            if getattr(self, key) == column:
                return key
        for key in ("properties", "product", "traits"):
            named: Mapping[str, str] = getattr(self, key)
            for name, its in named.items():
                if its == column:
                    return f"{key}.{name}"
        return "types"


def read_mapping(file: File) -> ColumnMapping:
    """The mapping in a YAML file. Raises PlaybookInvalid with every problem and its line, OSError."""
    return parse_mapping(file.read_bytes(), str(file))


def parse_mapping(data: bytes, name: str) -> ColumnMapping:
    """The mapping in a YAML text; `name` stands in messages. Raises PlaybookInvalid."""
    try:
        tree, places = read_yaml(data, name)
    except YamlInvalid as error:
        raise PlaybookInvalid([Problem(name, line, "", message) for line, _, message in error.faults]) from error
    if not isinstance(tree, dict):
        raise PlaybookInvalid([Problem(name, 1, "", "expected keys like `user_id:` and `timestamp:`")])
    try:
        return ColumnMapping.model_validate(tree)
    except ValidationError as error:
        problems = []
        for fault in error.errors():
            path = tuple(fault["loc"])
            at = next((places[path[:n]].line for n in range(len(path), 0, -1) if path[:n] in places), 0)
            problems.append(Problem(name, at, ".".join(map(str, path)), _said(fault["type"], str(fault["msg"]))))
        raise PlaybookInvalid(problems) from error


def _said(kind: str, message: str) -> str:
    """Pydantic's sentence in ours."""
    if kind == "missing":
        return "is missing: name the column"
    if kind == "extra_forbidden":
        return f"is no key of a mapping; known: {', '.join(ColumnMapping.model_fields)}"
    return message.removeprefix("Value error, ")

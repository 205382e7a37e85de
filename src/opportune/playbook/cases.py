"""Unit tests of a playbook, as YAML: what customers do, and the messages that must follow. Checked before they run.

tests:
  cart_reminder_after_an_hour:
    customers: {ada: {email: ada@example.org, timezone: Europe/London}}
    steps:
      - {at: 0m, customer: ada, event: Product Added, properties: {cart_id: k1, price: 40}}
    until: 1d
    expect:
      messages: [{at: 1h, customer: ada, campaign: cart_reminder, channel: email}]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path as File
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from opportune.domain.decisions import Reason
from opportune.domain.instants import parse_instant
from opportune.domain.journeys import Ending
from opportune.playbook.lines import Path, Place, YamlInvalid, read_yaml
from opportune.playbook.nearest import hint
from opportune.playbook.problems import PlaybookInvalid, Problem
from opportune.playbook.shape import told
from opportune.playbook.values import Block, Channel, Instant, Name, parse_duration

#: Where the clock of a case stands at first, as in a sandbox: a Monday, noon UTC.
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
#: What one step may do: exactly one of these.
ACTS = ("event", "page", "identify", "alias", "consent", "status", "ask", "item", "scores", "envelope")

#: How a journey may stand at the end of a test.
ENDINGS = ("none", *Ending)
#: Acts that are nobody's in particular.
IMPERSONAL = ("item", "scores", "envelope")


def _moment(value: object) -> object:
    """`1d 2h 30m` after the start, or an instant (UTC without an offset); YAML's 0 is 0s."""
    if value == 0:
        return timedelta(0)
    if isinstance(value, str) and value.strip()[4:5] == "-":
        return parse_instant(value)
    if isinstance(value, str):
        parts = [parse_duration(part) for part in value.split()]
        return sum((p for p in parts if isinstance(p, timedelta)), timedelta(0)) if parts else parse_duration(value)
    return parse_duration(value)


Moment = Annotated[timedelta | datetime, BeforeValidator(_moment)]


class AskStep(Block):
    """A request for a decision. `trigger` null: every campaign of kind request."""

    trigger: str | None = None
    channels: tuple[Channel, ...] | None = None
    context: dict[str, Any] = Field(default_factory=dict)
    max_messages: int | None = Field(None, ge=1)


class Step(Block):
    """One thing that happens. `at`: time since the start, like `1d 2h`, or an instant; exactly one act beside it."""

    at: Moment
    customer: str | None = Field(None, description="Needed by every act but `item`, `scores` and `envelope`.")
    event: str | None = None
    page: str | None = None
    properties: dict[str, Any] = Field(default_factory=dict)
    identify: dict[str, Any] | None = Field(None, description="Traits; `anonymous_id` joins the two.")
    alias: str | None = Field(None, description="The id whose history joins the customer's.")
    consent: dict[str, Literal["in", "out"]] | None = Field(None, description="Channel, or channel/topic -> state.")
    status: str | None = Field(None, description="What became of the customer's newest message: opened, clicked...")
    ask: AskStep | None = None
    item: dict[str, Any] | None = Field(None, description="What is so of an item: `item_id`, `price`, `stock`...")
    scores: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = Field(None, description="From here on, for all.")
    envelope: dict[str, Any] | None = Field(None, description="Any event in the shape of a batch item.")

    @model_validator(mode="after")
    def _one_act(self) -> "Step":
        acts = [name for name in ACTS if getattr(self, name) is not None]
        if len(acts) != 1:
            found = "has " + " and ".join(f"`{a}`" for a in acts) if acts else "has none"
            raise ValueError(f"a step has exactly one of {', '.join(ACTS)}; this one {found}")
        if acts[0] not in IMPERSONAL and self.customer is None:
            raise ValueError(f"`{acts[0]}` needs a `customer`")
        if self.properties and acts[0] not in ("event", "page"):
            raise ValueError("`properties` belong to `event` and `page`")
        if self.item is not None and not isinstance(self.item.get("item_id"), str):
            raise ValueError("`item` needs an `item_id`, as text: like {item_id: p7, price: 40, stock: 3}")
        return self


class ExpectedMessage(Block):
    """One message that must go. What is left out is not compared. `at`: when it leaves."""

    customer: str
    campaign: str
    at: Moment | None = None
    channel: Channel | None = None
    trigger: str | None = None
    variant: str | None = None
    step: str | None = None
    subject: str | None = None
    has: tuple[str, ...] = Field((), description="Texts that stand somewhere in its content.")


class ExpectedRemoval(Block):
    """One candidate that must not go, and why. What is left out is not compared."""

    customer: str
    campaign: str
    reason: Reason
    channel: Channel | None = None
    rule: str | None = None


class ExpectedJourney(Block):
    """How a journey of a customer stands when the test ends. What is left out is not compared."""

    customer: str
    journey: str
    key: str | None = None
    step: str | None = Field(None, description="Where the customer stands, or stood at last.")
    ending: str | None = Field(None, description="How it ended; `none`: still on the way.")

    @model_validator(mode="after")
    def _known(self) -> "ExpectedJourney":
        if self.ending is not None and self.ending not in ENDINGS:
            raise ValueError(f"`{self.ending}` is no way a journey ends; known: {', '.join(ENDINGS)}")
        return self


class Expected(Block):
    """What must follow. `messages` null: not looked at; an empty list: silence."""

    messages: tuple[ExpectedMessage, ...] | None = None
    removed: tuple[ExpectedRemoval, ...] = ()
    journeys: tuple[ExpectedJourney, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> "Expected":
        if self.messages is None and not self.removed and not self.journeys:
            raise ValueError("expects nothing, and cannot fail: write `messages: []` for silence")
        return self


class Case(Block):
    """One test. All of its messages, in the order in which they leave until `until`, must be those expected."""

    start: Instant = START
    customers: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Customer -> traits at the start.")
    scores: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    until: Moment = timedelta(days=1)
    expect: Expected

    @model_validator(mode="after")
    def _in_order(self) -> "Case":
        last = self.start
        for number, step in enumerate(self.steps, 1):
            at = self.instant(step.at)
            if at < last:
                raise ValueError(f"step {number} lies before the one above it: steps are written in order of time")
            last = at
        if self.instant(self.until) < last:
            raise ValueError("`until` lies before the last step")
        return self

    def instant(self, at: timedelta | datetime) -> datetime:
        """The instant of a moment of this case, aware UTC."""
        return (at if isinstance(at, datetime) else self.start + at).astimezone(UTC)


class CaseFile(Block):
    """The tests of one file, by name."""

    tests: dict[Name, Case] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class PlacedCase:
    """A test and where it is written."""

    name: str
    file: str
    line: int
    case: Case


def read_cases(file: File) -> list[PlacedCase]:
    """The tests of one file, in its order. Raises PlaybookInvalid with every problem and its line, OSError."""
    return parse_cases(file.read_bytes(), str(file))


def parse_cases(data: bytes, name: str) -> list[PlacedCase]:
    """The tests of a YAML text; `name` stands in messages. Raises PlaybookInvalid."""
    try:
        tree, places = read_yaml(data, name)
    except YamlInvalid as error:
        raise PlaybookInvalid([Problem(name, line, "", message) for line, _, message in error.faults]) from error
    if not isinstance(tree, dict):
        raise PlaybookInvalid([Problem(name, 1, "", "expected `tests:` at the top, and named tests below")])
    try:
        found = CaseFile.model_validate(tree)
    except ValidationError as error:
        raise PlaybookInvalid([_problem(dict(fault), places, name) for fault in error.errors()]) from error
    return [PlacedCase(key, name, places["tests", key].line, case) for key, case in found.tests.items()]


def _problem(fault: Mapping[str, Any], places: Mapping[Path, Place], name: str) -> Problem:
    path: Path = tuple(key for key in fault["loc"] if key != "[key]")
    at = next((places[path[:n]].line for n in range(len(path), 0, -1) if path[:n] in places), 0)
    return Problem(name, at, ".".join(map(str, path)), _said(fault, path))


def _said(fault: Mapping[str, Any], path: Path) -> str:
    """Pydantic's sentence in ours."""
    if fault["type"] == "extra_forbidden":
        return "is no key of a playbook test here: see docs/playbook.md, Tests"
    if fault["type"] == "enum":
        known = [reason.value for reason in Reason]
        return f"`{fault['input']}` is no reason{hint(str(fault['input']), known)}; known: {', '.join(known)}"
    return told(fault, path)

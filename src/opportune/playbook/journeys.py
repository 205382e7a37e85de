"""The shape of journeys: what is said one step after another, and what ends it."""

from datetime import time, timedelta
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator

from opportune.playbook.triggers import On
from opportune.playbook.values import Block, Channel, Duration, Name, parse_duration

#: Where a step may lead besides another step: out of the journey.
END = "end"
StepKind = Literal["message", "wait", "wait_until", "branch", "split", "escalate", "end"]
STEP_KINDS: tuple[StepKind, ...] = get_args(StepKind)
#: Steps that may come out badly, and so may have an `else`.
_HAS_ELSE = ("message", "wait_until", "branch", "escalate")


def _as_message(value: object) -> object:
    return {"campaign": value} if isinstance(value, str) else value


def _as_wait(value: object) -> object:
    """`2d` alone is a time to wait."""
    return value if value is None or isinstance(value, dict | Block) else {"for": value}


def _as_step(value: object) -> object:
    """`end` alone is a step."""
    return {END: True} if value == END else value


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


class Said(Block):
    """One message of a campaign, decided by the ordinary pipeline at this moment."""

    campaign: Name
    channels: tuple[Channel, ...] | None = Field(None, min_length=1, description="Null: any of the campaign's.")


class Pause(Block):
    """A time to wait, then on to the next such hour where the customer lives."""

    for_: Duration | None = Field(None, alias="for")
    until: time | None = Field(None, description="Local hour; UTC while the customer's zone is unknown.")

    @model_validator(mode="after")
    def _complete(self) -> "Pause":
        if self.for_ is None and self.until is None:
            raise ValueError("wait how long? write `wait: 2d`, or `wait: {until: 09:00}`")
        if self.for_ is not None and self.for_ <= timedelta(0):
            raise ValueError("wait longer than 0, or leave the step out")
        return self


class Awaited(Block):
    """What a step waits for: an event, a condition, or that so many of the last messages were noticed."""

    event: str | None = None
    key: str | None = None
    when: str | None = Field(None, description="With `event`: over the event. Alone: over everything.")
    opened: int | None = Field(None, ge=1)
    clicked: int | None = Field(None, ge=1)
    of_last: int | None = Field(None, ge=1, description="Only the last so many messages of the journey count.")
    for_: Duration | None = Field(None, alias="for", description="No longer than this; null: until `max_length`.")

    @property
    def on(self) -> On | None:
        """The event waited for; null when it is something else."""
        return On(event=self.event, key=self.key, when=self.when) if self.event is not None else None

    @model_validator(mode="after")
    def _complete(self) -> "Awaited":
        n_counts = (self.opened is not None) + (self.clicked is not None)
        n_told = (self.event is not None) + (self.event is None and self.when is not None) + n_counts
        if n_told != 1:
            raise ValueError("wait for one thing: `event`, or `when`, or `opened`, or `clicked`")
        if self.key is not None and self.event is None:
            raise ValueError("`key` belongs to `event`")
        if self.of_last is not None and (not n_counts or self.of_last < (self.opened or self.clicked or 0)):
            raise ValueError("`of_last` belongs to `opened` or `clicked`, and is at least as large")
        if self.for_ is not None and self.for_ <= timedelta(0):
            raise ValueError("give it time: longer than 0")
        return self


class Way(Block):
    """One way out of a branch."""

    when: str
    go: Name


class Escalation(Block):
    """A campaign on one channel after another until the customer takes notice."""

    campaign: Name
    channels: tuple[Channel, ...] = Field(min_length=1)
    each: Duration = Field(description="How long after the hand-off the next channel is tried.")
    until: Literal["opened", "clicked"] = "opened"

    @model_validator(mode="after")
    def _complete(self) -> "Escalation":
        if self.each <= timedelta(0):
            raise ValueError("give each channel time: longer than 0")
        if len(set(self.channels)) < len(self.channels):
            raise ValueError("a channel is named twice")
        return self


class Step(Block):
    """One step: exactly one of its kinds; `go` and `else` name the step that comes next instead of the one below."""

    name: Name | None = None
    message: Annotated[Said | None, BeforeValidator(_as_message)] = None
    wait: Annotated[Pause | None, BeforeValidator(_as_wait)] = None
    wait_until: Awaited | None = None
    branch: tuple[Way, ...] | None = Field(None, min_length=1)
    split: dict[Name, float] | None = Field(None, min_length=2, description="Step -> weight relative to the others.")
    escalate: Escalation | None = None
    end: Literal[True] | None = None
    go: Name | None = None
    else_: Name | None = Field(None, alias="else")

    @property
    def kind(self) -> StepKind:
        """Which of the kinds it is."""
        return next(kind for kind in STEP_KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _complete(self) -> "Step":
        kinds = [kind for kind in STEP_KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            found = " and ".join(f"`{kind}`" for kind in kinds) or "none"
            raise ValueError(f"a step is one of {', '.join(STEP_KINDS)}; this one has {found}")
        kind = kinds[0]
        if self.else_ is not None and kind not in _HAS_ELSE:
            raise ValueError(f"`else` belongs to {', '.join(_HAS_ELSE)}; this is {kind}")
        if self.go is not None and kind in ("branch", "split", "end"):
            raise ValueError(f"a {kind} step has no `go` of its own")
        if self.wait_until is not None and self.else_ is not None and self.wait_until.for_ is None:
            raise ValueError("`else` is for when the time is over: add `for` to `wait_until`")
        if self.split is not None and not all(0 < weight < 1e9 for weight in self.split.values()):
            raise ValueError("the weights of a split are numbers over 0")
        return self


class Leave(Block):
    """A way out in the middle: an event, or a condition over everything that is asked whenever something happens."""

    event: str | None = None
    key: str | None = None
    when: str | None = Field(None, description="With `event`: over the event. Alone: over everything.")

    @property
    def on(self) -> On | None:
        """The event; null when a condition stands alone."""
        return On(event=self.event, key=self.key, when=self.when) if self.event is not None else None

    @model_validator(mode="after")
    def _complete(self) -> "Leave":
        if self.event is None and (self.when is None or self.key is not None):
            raise ValueError("an exit is an event, with `when` and `key` if you like, or a condition: `when`")
        return self


class Journey(Block):
    """A trigger sets a customer on the way; steps follow; goal, exits and opting out end it, in mid-wait too."""

    description: str = ""
    start: Name = Field(description="The trigger that sets a customer on the way.")
    goal: Name | None = Field(None, description="Reaching it ends the journey.")
    exit: Annotated[tuple[Leave, ...], BeforeValidator(_as_list)] = ()
    reentry: Literal["never", "always"] | timedelta = Field(
        "never", description="Whether the same key may come again: `never`, `always`, or `after 30d` of its end."
    )
    max_length: Duration = Field(timedelta(days=90), description="Nobody stays longer.")
    leaves_on_opt_out: bool = Field(True, description="Opting out of a channel or topic it speaks on ends it.")
    state: Literal["open", "closed", "stopped"] = Field(
        "open", description="`closed`: nobody new, those on the way finish. `stopped`: it ends for everyone."
    )
    steps: tuple[Annotated[Step, BeforeValidator(_as_step)], ...] = Field(min_length=1)

    @field_validator("reentry", mode="before")
    @classmethod
    def _read_reentry(cls, value: object) -> object:
        if isinstance(value, str) and value.startswith("after "):
            return parse_duration(value.removeprefix("after "))
        if value not in ("never", "always") and not isinstance(value, timedelta):
            raise ValueError(f"`{value}` is not a rule for coming again: write never, always, or after 30d")
        return value

    @field_serializer("reentry", when_used="json")
    def _write_reentry(self, value: "Literal['never', 'always'] | timedelta") -> str:
        return value if isinstance(value, str) else f"after {value // timedelta(seconds=1)}s"

    @model_validator(mode="after")
    def _complete(self) -> "Journey":
        if self.max_length <= timedelta(0):
            raise ValueError("`max_length` must be longer than 0")
        return self

"""The shape of a playbook. One pydantic model per YAML block; the JSON Schema is generated from here.

How values are written stands in values.py; the blocks of triggers in triggers.py.
"""

from datetime import time, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from opportune.playbook.journeys import Journey
from opportune.playbook.limits import Adapt
from opportune.playbook.sources import Source
from opportune.playbook.triggers import Occasion, Trigger
from opportune.playbook.values import Block, Channel, Duration, Instant, Name, Purpose, parse_duration


class Goal(Block):
    """What we hope for: an event, optionally with a condition, a value and a horizon."""

    event: str
    when: str | None = None
    value: str | None = Field(None, description="Property holding the value in major units, like properties.revenue.")
    value_minor: int | None = Field(None, description="Fixed value of one goal in minor units; what ranking uses.")
    horizon: Duration = timedelta(days=30)


class Topic(Block):
    """What a message is about; consent is kept per channel and topic."""

    purpose: Purpose = "marketing"
    description: str = ""


class ConsentPolicy(Block):
    """What holds when the customer has said nothing."""

    default: dict[str, Literal["in", "out"]] = Field(
        default_factory=dict, description="Per channel; `*` for all others. A missing channel means out."
    )
    profiling: Literal["in", "out"] = "in"


class QuietHours(Block):
    """Local hours in which nothing goes that obeys them. May cross midnight. `start` is quiet, `end` is not."""

    start: time
    end: time
    channels: tuple[Channel, ...] | None = None


class Counts(Block):
    """Which sends a cap counts: all given conditions must hold; empty counts every send that counts."""

    channel: Channel | None = None
    topic: str | None = None
    purpose: Purpose | None = None
    campaign: str | None = None
    tag: str | None = None


class Cap(Block):
    """At most `at_most` sends in every window `in`, and at least `at_least_apart` between two."""

    counts: Counts = Counts()
    per: Literal["customer", "account"] = Field(
        "customer", description="Whose sends are counted: `account`, those of all customers of one account together."
    )
    at_most: int | None = Field(None, ge=0)
    window: str | None = Field(None, alias="in", description="A duration (rolling) or `calendar day|week|month`.")
    at_least_apart: Duration | None = None
    adapt: Adapt | None = Field(None, description="How many of `at_most` this customer gets.")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @property
    def rolling(self) -> timedelta | None:
        """The rolling window; null when it is a calendar window or absent."""
        if self.window is None or self.window.startswith("calendar "):
            return None
        return parse_duration(self.window)  # type: ignore[return-value]

    @property
    def calendar(self) -> str | None:
        """`day`, `week` or `month` (customer's zone, weeks start on Monday); null when rolling."""
        return self.window.removeprefix("calendar ") if self.window and self.window.startswith("calendar ") else None

    @model_validator(mode="after")
    def _complete(self) -> "Cap":
        if (self.at_most is None) != (self.window is None):
            raise ValueError("a cap needs both `at_most` and `in`, or neither with `at_least_apart`")
        if self.at_most is None and self.at_least_apart is None:
            raise ValueError("a cap needs `at_most` with `in`, or `at_least_apart`")
        if self.window is not None and self.calendar not in (None, "day", "week", "month"):
            raise ValueError("`in` is a duration like 7d, or `calendar day`, `calendar week`, `calendar month`")
        if self.window is not None and self.calendar is None:
            parse_duration(self.window)
        if self.adapt is not None and self.at_most is None:
            raise ValueError("`adapt` moves inside a hard cap: give `at_most` and `in` too")
        return self


class Content(Block):
    """Liquid templates of one variant on one channel."""

    subject: str | None = None
    body: str
    cta: str | None = None
    url: str | None = None


class Variant(Block):
    """One wording, per channel; `weight` relative to its siblings."""

    weight: float = Field(1.0, gt=0)
    content: dict[Channel, Content]


class Campaign(Block):
    """Why we would speak, about what, on which channels, with what words, worth what."""

    trigger: str | None = Field(None, description="What makes it a candidate; null: only journeys speak it.")
    topic: str
    channels: tuple[Channel, ...] = Field(min_length=1)
    content: dict[Channel, Content] = Field(default_factory=dict)
    variants: dict[Name, Variant] = Field(default_factory=dict)
    when: str | None = None
    goal: str | None = None
    lift: float = Field(1.0, ge=0, le=1, description="Share of the goal's probability credited to the message.")
    value_minor: int | None = Field(
        None, description="Value of success; overrides the goal's. Null and no goal: ranked by priority."
    )
    cost_minor: int = 0
    priority: int = Field(
        0, description="Higher first among campaigns without a value, after those with a positive one."
    )
    tags: tuple[str, ...] = ()
    obeys_caps: bool = True
    obeys_quiet_hours: bool = True
    counts_toward_caps: bool = True
    expires_after: Duration = timedelta(hours=24)
    tolerance: Duration = Field(timedelta(hours=1), description="A hand-off later than this is placed anew.")
    cooldown: Duration | None = None
    holdout: float = Field(0.0, ge=0, lt=1, description="Share of customers who never hear it, to measure it by.")
    starts_at: Instant | None = None
    ends_at: Instant | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Campaign":
        if not self.content and not self.variants:
            raise ValueError("a campaign needs `content` or `variants`")
        texts = {"": self.content} if self.content else {k: v.content for k, v in self.variants.items()}
        for name, content in texts.items():
            missing = [c for c in self.channels if c not in content]
            if missing:
                raise ValueError(
                    f"no content for channel {', '.join(missing)}" + (f" in variant {name}" if name else "")
                )
        return self


class Exploration(Block):
    """Exploration: with probability `rate` draw uniformly over feasible actions and nothing. Off by default."""

    rate: float = Field(0.0, ge=0, le=1)
    hours: float = Field(0.0, ge=0, le=1, description="Else: probability to draw the hour evenly.")


class SendTime(Block):
    """At which hour to speak while no send-time model can tell."""

    default_hour: int | None = Field(None, ge=0, le=23, description="Local hour preferred; null: the earliest.")


def _as_range(value: object) -> object:
    """A single number s means [0, s]."""
    return (0.0, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Variation(Block):
    """One arm of an experiment: what it changes of the playbook, by dotted path. Empty: business as usual."""

    weight: float = Field(1.0, gt=0)
    override: dict[str, Any] = Field(
        default_factory=dict, description="Dotted path into the playbook -> value, like `caps.weekly.at_most: 5`."
    )


class Experiment(Block):
    """Customers split at random between variations of the playbook."""

    description: str = ""
    variations: dict[Name, Variation] = Field(min_length=2)
    share: Annotated[tuple[float, float], BeforeValidator(_as_range)] = Field(
        (0.0, 1.0), description="Which part of the layer takes part: a share from 0, or `[from, to]`."
    )
    layer: Name | None = Field(None, description="Experiments of one layer never share a customer.")
    unit: Literal["customer"] = "customer"
    when: str | None = Field(None, description="Who may take part: over features and traits.")
    salt: str | None = Field(None, min_length=1, description="Seed of the draw of the variation; null: its name.")
    goal: str | None = Field(None, description="The goal that counts; null: every goal of the playbook.")
    window: Duration | None = Field(None, description="How long after exposure goals count; null: the goal's horizon.")
    starts_at: Instant | None = None
    ends_at: Instant | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Experiment":
        low, high = self.share
        if not 0 <= low < high <= 1:
            raise ValueError("`share` is a number over 0 and up to 1, or `[from, to]` with 0 <= from < to <= 1")
        return self


class Holdout(Block):
    """Customers who hear nothing but transactional messages, kept to measure everything else by."""

    share: float = Field(0.0, ge=0, lt=1)
    salt: str = Field("holdout", min_length=1)


class PlaybookSpec(Block):
    """A whole playbook: the union of all YAML files in its folder."""

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "GBP"
    max_messages: int = Field(1, ge=1, le=20)
    goals: dict[Name, Goal] = Field(default_factory=dict)
    activity: tuple[str, ...] = Field((), description="Event names that count as being active.")
    topics: dict[Name, Topic] = Field(default_factory=dict)
    consent: ConsentPolicy = ConsentPolicy()
    quiet_hours: QuietHours | None = None
    caps: dict[Name, Cap] = Field(default_factory=dict)
    audiences: dict[Name, str] = Field(default_factory=dict, description="Name -> condition: who belongs to it.")
    occasions: dict[Name, Occasion] = Field(default_factory=dict)
    triggers: dict[Name, Trigger] = Field(default_factory=dict)
    sources: dict[Name, Source] = Field(default_factory=dict, description="Where events come from.")
    watch_every: Duration = timedelta(days=1)
    campaigns: dict[Name, Campaign] = Field(default_factory=dict)
    journeys: dict[Name, Journey] = Field(default_factory=dict)
    exploration: Exploration = Exploration()
    experiments: dict[Name, Experiment] = Field(default_factory=dict)
    holdout: Holdout = Holdout()
    send_time: SendTime = SendTime()

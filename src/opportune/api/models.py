"""The documented shapes of requests and answers: what /openapi.json says. Nothing is parsed with them on a hot path."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from opportune.playbook.values import Channel

CustomerId = Annotated[
    str | int,
    Field(description="1 to 256 characters, or a whole number.", examples=["c42"], union_mode="left_to_right"),
]


#: An instant as callers write it; read by hand, so only the document knows the format.
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Shape(BaseModel):
    """Requests refuse members they do not know."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AskOptions(Shape):
    """What may be said of every ask."""

    at: Instant | None = Field(None, description="ISO 8601. Other than now only with dry_run.")
    channels: list[Channel] | None = Field(None, min_length=1, description="null: any.")
    trigger: str | None = Field(None, description="null: all campaigns whose trigger is of kind request.")
    context: dict[str, Any] | None = Field(None, description="Readable in conditions and content as context.*.")
    max_messages: int | None = Field(None, ge=1, le=20, description="null: the playbook's default.")
    deliver: Literal["caller", "service"] | None = Field(None, description="Who sends; null: caller.")
    dry_run: bool | None = Field(None, description="Decide, but reserve and log nothing.")
    explain: bool | None = Field(None, description="Scores with reasons.")


class AskBody(AskOptions):
    """One ask for a decision. Only customer_id is required."""

    customer_id: CustomerId


class AskItem(AskOptions):
    """One customer of a batch. What it says goes before what the batch says."""

    customer_id: CustomerId


class BatchBody(AskOptions):
    """Up to 1,000 asks. Options beside `customers` hold for all."""

    customers: list[AskItem] = Field(min_length=1, max_length=1000)


class ScoresBody(Shape):
    """Whose scores."""

    customer_ids: list[CustomerId] = Field(min_length=1, max_length=1000)
    models: list[str] | None = Field(None, min_length=1, description="null: all.")
    at: Instant | None = Field(None, description="ISO 8601, not in the future; null: now.")
    explain: bool | None = None


class ConsentBody(Shape):
    """What the customer said."""

    channel: Literal["email", "push", "sms", "inapp", "onsite", "profiling", "*"]
    topic: str | None = Field(None, description="A topic of the playbook, or *; null: *.")
    state: Literal["in", "out"]
    source: str | None = Field(None, max_length=200, description="Where it was said; null: api.")
    proof: dict[str, Any] | None = Field(None, description="What you can show for it: form, text version, address...")
    at: Instant | None = Field(None, description="ISO 8601, not in the future; null: now.")


class SuppressionEntry(Shape):
    """Who is listed: exactly one member."""

    customer_id: CustomerId | None = None
    email: str | None = None
    phone: str | None = None
    email_sha256: str | None = Field(None, description="Hex SHA-256 of the address in lower case.")
    phone_sha256: str | None = Field(None, description="Hex SHA-256 of the number as + and digits.")


class SuppressionsBody(Shape):
    """Entries to list, or to lift."""

    entries: list[SuppressionEntry] = Field(min_length=1, max_length=10_000)
    state: Literal["on", "off"] | None = Field(None, description="off: lift them; null: on.")
    purpose: Literal["all", "marketing"] | None = Field(None, description="What they stop; null: all.")
    source: str | None = Field(None, max_length=200, description="Which list it is; null: api.")


class StatusBody(Shape):
    """What became of a message."""

    status: Literal["sent", "not_sent", "delivered", "bounced", "complained", "opened", "clicked", "shown", "dismissed"]
    at: Instant | None = Field(None, description="ISO 8601, not in the future; null: now.")
    reason: str | None = Field(None, max_length=500)


class ItemBody(Shape):
    """What is so of an item. A field left out keeps its value; null clears it."""

    price_minor: int | None = Field(None, ge=0, le=10**12, description="Minor units, like 1990 for 19.90.")
    price: float | str | None = Field(None, description="Major units, in the place of price_minor.")
    stock: int | None = Field(None, le=10**9, description="Pieces; null: not counted; 0 (or less): sold out.")
    category: str | None = Field(None, max_length=200)
    title: str | None = Field(None, max_length=1000)
    url: str | None = Field(None, max_length=2000)
    image_url: str | None = Field(None, max_length=2000)
    attributes: dict[str, Any] | None = Field(None, description="Your own; replaced as a whole.")
    is_active: bool | None = Field(None, description="false: it cannot be bought.")
    updated_at: Instant | None = Field(None, description="ISO 8601, when this became so; null: now.")
    item_id: str | int | None = Field(None, description="As in the path, where it is in the path.")


class ItemsBody(Shape):
    """Up to 1,000 items, each with its item_id (the product_id of your events)."""

    items: list[ItemBody] = Field(min_length=1, max_length=1000)


class ClockBody(Shape):
    """The instant to move the replay clock to."""

    now: Instant


class ReasonOut(BaseModel):
    """One contribution to a score. `effect` in probability, signed."""

    feature: str
    value: Any
    effect: float
    text: str


class ScoreOut(BaseModel):
    """One model's answer."""

    p: float = Field(ge=0, le=1)
    target: str
    model: str
    reasons: list[ReasonOut] = []
    best_at: datetime | None = Field(None, description="send_time only: the next instant of the best hour.")
    best_hour_local: int | None = Field(None, ge=0, le=23, description="send_time only; null: no hour is preferred.")


class MessageOut(BaseModel):
    """One chosen message. `value_minor` in minor units of the currency; null: ranked by priority."""

    message_id: str
    rank: int
    campaign: str
    trigger: str
    step: str | None
    channel: str
    variant: str | None
    send_at: datetime
    expires_at: datetime
    value_minor: int | None
    action_probability: float
    content: dict[str, Any]
    headers: dict[str, str]
    reasons: list[str]


class RemovedOut(BaseModel):
    """One candidate that was not chosen: where, why, by which rule; `would_pass_at` null: time alone does not help."""

    campaign: str
    channel: str | None
    variant: str | None
    stage: str
    reason: str
    rule: str | None
    detail: dict[str, Any]
    would_pass_at: datetime | None


class Assume(BaseModel):
    """What did not happen but is asked about."""

    traits: dict[str, Any] | None = None
    events: list[dict[str, Any]] | None = None


class ExplainBody(BaseModel):
    """One customer, one campaign, one moment (null: now). `channel` null: any."""

    customer_id: str
    campaign: str
    channel: str | None = None
    at: datetime | None = None
    context: dict[str, Any] | None = None
    assume: Assume | None = None


class DecisionOut(BaseModel):
    """A decision with its messages, and everything that was not chosen with its reason."""

    decision_id: str
    customer_id: str
    decided_at: datetime
    playbook: str
    mode: Literal["full", "rules_only"]
    degraded: bool
    currency: str
    summary: str
    scores: dict[str, ScoreOut]
    messages: list[MessageOut]
    removed: list[RemovedOut]
    nothing_probability: float
    exposures: list[dict[str, str]]


class ItemError(BaseModel):
    """Why one item of a batch has no decision."""

    code: str
    field: str | None
    message: str


class RefusedOut(BaseModel):
    """An item of a batch that could not be decided."""

    customer_id: Any
    error: ItemError


class BatchOut(BaseModel):
    """In the order asked."""

    decisions: list[DecisionOut | RefusedOut]


class ScoresOut(BaseModel):
    """One object per customer in the order asked: customer_id, and a score under each model's name."""

    scores: list[dict[str, Any]]


class ItemsOut(BaseModel):
    """In the order given: each item as it is now, or `{"item_id", "error": {"code", "field", "message"}}`."""

    items: list[dict[str, Any]]


class EventsOut(BaseModel):
    """Sent after the durable write. Refused items are kept as dead letters."""

    success: Literal[True] = True
    accepted: int
    rejected: list[dict[str, Any]]


class Problem(BaseModel):
    """RFC 9457, with `code` (stable) and `message` beside the standard members; `field` names what is wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    field: str | None = None

"""Decisions: what was asked, everything the pipeline was given, and what it chose and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from opportune.domain.budgets import BudgetStanding
from opportune.domain.customers import Consent, Customer
from opportune.domain.evidence import CampaignRecord
from opportune.domain.messages import AccountSend, Deliver, Send
from opportune.domain.suppressions import Suppression

#: A finished feature value: null has the meaning its catalogue entry states.
Value = float | int | bool | str | tuple[float, ...] | None


class Stage(StrEnum):
    """The stages that may remove a candidate, in order."""

    NOMINATE = "nominate"
    QUALIFY = "qualify"
    PLACE = "place"
    AFFORD = "afford"
    HOLD = "hold"
    CHOOSE = "choose"
    RENDER = "render"
    WITHHOLD = "withhold"


class Reason(StrEnum):
    """Why a candidate was removed or a booked message was not sent: ONE closed list for code, log, metrics and API."""

    CHANNEL_NOT_ASKED = "channel_not_asked"  # the request named other channels
    NOT_STARTED = "not_started"  # campaign starts later
    ENDED = "ended"  # campaign has ended
    CONDITION_FALSE = "condition_false"  # its `when` or audience does not hold
    COOLDOWN = "cooldown"  # same campaign spoke too recently
    NO_CONSENT = "no_consent"  # opted out, or never opted in where that is needed
    NO_PROFILING = "no_profiling"  # needs a score, and the customer has withdrawn consent to profiling
    SUPPRESSED = "suppressed"  # suppression list, hard bounce, complaint
    NO_ADDRESS = "no_address"  # no e-mail address, phone, device token
    SCORE_MISSING = "score_missing"  # its condition reads a score that is not available
    QUIET_HOURS = "quiet_hours"  # no slot outside quiet hours before it expires
    SEND_WINDOW = "send_window"  # no slot inside a send window before it expires
    FREQUENCY_CAP = "frequency_cap"  # at_most of a cap rule
    SPACING = "spacing"  # at_least_apart of a cap rule
    EXPIRED = "expired"  # no time left before it expires
    CANCELLED = "cancelled"  # what the trigger waited against has happened, or newer news replaced it
    BUDGET = "budget"  # a budget has no room for it, or its room is worth more elsewhere
    HELD_FOR_BETTER = "held_for_better"  # it would take the place of a better message that is due soon
    BELOW_NOTHING = "below_nothing"  # worth less than sending nothing
    OUTRANKED = "outranked"  # something better took the last rank
    NOT_DRAWN = "not_drawn"  # exploration drew another action
    RENDER_FAILED = "render_failed"  # its content could not be rendered
    HOLDOUT = "holdout"  # would have gone; withheld for measurement
    CALLER_DECLINED = "caller_declined"  # the caller reported not_sent
    UNDELIVERED = "undelivered"  # the courier gave up


class Mode(StrEnum):
    """`full`: scores were used. `rules_only`: none available or allowed."""

    FULL = "full"
    RULES_ONLY = "rules_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request for a decision, by a caller or by a firing trigger.

    `trigger` null: all campaigns of kind request. `channels` null: any. `at` other than now only with `dry_run`.
    """

    customer_id: str
    at: datetime | None = None
    channels: tuple[str, ...] | None = None
    trigger: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    max_messages: int | None = None  # null: the playbook's default
    deliver: Deliver = Deliver.CALLER
    dry_run: bool = False
    explain: bool = False
    #: set for triggered decisions: the timer that fired (rule, key, version, its envelope's properties).
    firing: "Firing | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A trigger that fired for one customer, or a step of a journey (`trigger` is then `journey:<name>`).

    `properties` are those of the envelope that set the timer, or started the journey.
    """

    trigger: str
    key: str
    due_at: datetime
    set_by: str
    version: int
    properties: Mapping[str, Any] = field(default_factory=dict)
    #: a step of a journey: its name, and the campaign it speaks. Null: a trigger, which speaks all of its own.
    step: str | None = None
    campaign: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReason:
    """One contribution to a score. `effect` in probability, signed; `text` in plain words."""

    feature: str
    value: Value
    effect: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One model's answer for one customer. `p` in [0, 1]. `model` is `name/version`. `target` in words.

    Send time only: `hours`, the chance of each local hour 0-23 relative to their mean (empty: no hour is preferred);
    `best_hour_local` 0-23 and `best_at`, its next instant (null: none is).
    """

    name: str
    p: float
    model: str
    target: str
    reasons: tuple[ScoreReason, ...] = ()
    hours: tuple[float, ...] = ()
    best_hour_local: int | None = None
    best_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything one decision depends on. Same case and playbook, same decision; replay never reruns a model.

    `features` are finished values as of `now`. `sends` are all that may count in any cap window around the
    horizon (reserved and sent, virtual ones too). `seed` is hex of HMAC(secret, decision id).
    """

    decision_id: str
    ask: Ask
    customer: Customer
    now: datetime
    playbook_hash: str
    code_version: str
    seed: str
    features: Mapping[str, Value]
    features_version: int
    degraded: bool
    scores: Mapping[str, Score]
    consents: tuple[Consent, ...]
    sends: tuple[Send, ...]
    #: entries of suppression lists in force that name the customer.
    suppressions: tuple[Suppression, ...] = ()
    #: where customers reach our pages, without a slash at the end; empty: nowhere, and messages hold no links to them.
    public_url: str = ""
    #: budgets as they stand, with their prices now; the records of campaigns that are corrected by them.
    budgets: tuple[BudgetStanding, ...] = ()
    records: tuple[CampaignRecord, ...] = ()
    #: other triggers of this customer that are due soon, where the playbook holds messages for better ones.
    coming: "tuple[Firing, ...]" = ()
    #: pseudonymous unit for experiments and MLflow; never the customer id.
    unit: str
    assignments: Mapping[str, str] = field(default_factory=dict)
    #: sends of everybody in the customer's account, the customer's own included; empty when no cap counts by account.
    account_sends: tuple[AccountSend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One candidate that did not make it: where, why, by which rule, and the numbers that met.

    `channel`/`variant` null: removed before they were chosen. `would_pass_at`: earliest instant at which this
    gate alone would pass; null when time alone does not help.
    """

    campaign: str
    channel: str | None
    variant: str | None
    stage: Stage
    reason: Reason
    rule: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    would_pass_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One chosen message. `action_probability`: with which this action was drawn at its rank, in (0, 1].

    `slot_probability`: with which this slot was drawn given campaign, channel and wording; null when nothing was left
    to chance about the slot.
    `value_minor`: integer minor units of currency, null when ranked by priority. `is_virtual`: withheld.
    """

    message_id: str
    rank: int
    campaign: str
    trigger: str
    step: str | None
    channel: str
    variant: str | None
    topic: str
    purpose: str
    tags: tuple[str, ...]
    send_at: datetime
    expires_at: datetime
    value_minor: int | None
    action_probability: float
    content: Mapping[str, Any]
    headers: Mapping[str, str]
    reasons: tuple[str, ...]
    obeys_caps: bool
    counts: bool
    is_virtual: bool = False
    slot_probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankDraw:
    """The logged distribution of one rank: every feasible action (`campaign|channel|variant|slot`, or `nothing`)."""

    rank: int
    chosen: str
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was chosen, what was not and why; complete for the log."""

    decision_id: str
    customer_id: str
    decided_at: datetime
    playbook_hash: str
    code_version: str
    mode: Mode
    degraded: bool
    currency: str
    summary: str
    scores: Mapping[str, Score]
    messages: tuple[Message, ...]
    removed: tuple[Removal, ...]
    nothing_probability: float
    draws: tuple[RankDraw, ...]
    exposures: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDecision:
    """One row of the decision log. `case` and `decision` as JSON bytes written by decision/record.py."""

    decision_id: str
    customer_id: str
    decided_at: datetime
    playbook_hash: str
    trigger: str | None
    mode: Mode
    n_messages: int
    case: bytes
    decision: bytes

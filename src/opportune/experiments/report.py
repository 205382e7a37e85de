"""What campaigns did and why people did not hear: counts of one period, with their definitions beside them. Pure.

Tallies take one row at a time and hold one line per campaign and channel, so their memory does not grow with the log.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from opportune.domain.decisions import Decision, Reason, Removal, Stage
from opportune.domain.events import Event
from opportune.domain.instants import format_instant
from opportune.domain.messages import Outcome, OutcomeKind, Send, SendState
from opportune.domain.money import to_minor
from opportune.playbook.load import Playbook

#: Figure -> what it counts. The cohort is the same for all of them.
DEFINITIONS: Mapping[str, str] = {
    "cohort": "messages chosen by decisions of the period, whenever they left; test customers are left out",
    "booked": "messages chosen and not withheld",
    "sent": "booked messages handed over: by the service, or reported as sent by the caller",
    "waiting": "booked, not handed over yet",
    "released": "booked, then not sent: cancelled, expired, consent withdrawn, declined by the caller",
    "withheld": "would have gone, kept back by a holdout",
    "delivered": "sent messages reported as delivered, or opened, or clicked",
    "opened": "sent messages opened at least once by a person, or clicked; opens by machines are in machine_opened",
    "clicked": "sent messages clicked at least once",
    "converted": "sent messages credited with at least one goal of their campaign within its horizon: a goal counts "
    "for the last message sent to that customer before it, among campaigns with this goal",
    "revenue_minor": "value of the goals credited, in minor units: the goal's `value` property, else its `value_minor`",
    "still_open": "sent messages whose horizon has not ended: their conversions may still come",
    "unsubscribed": "sent messages answered by an unsubscribe",
    "rates": "each divided by sent; click_to_open: clicked divided by opened; null when there is nothing to divide by",
}
REACH_DEFINITIONS: Mapping[str, str] = {
    "chance": "one decision in which the campaign was a candidate for one customer; test customers are left out",
    "heard": "chances that led to a message that was sent or is still waiting",
    "lost": "chances that did not; each has one reason, so that the shares add up: the gate reached last by any of the "
    "campaign's channels, or what released the booked message",
    "no_zone": "held by quiet hours or a send window while the time zone is unknown, so that they hold in every zone",
    "share": "of all chances of the campaign",
}
#: Reason -> the group it is reported under, in the words of a reader. `no_zone` is hours without a known zone.
GROUPS: Mapping[Reason, str] = {
    Reason.CHANNEL_NOT_ASKED: "channel not asked for",
    Reason.NOT_STARTED: "not started",
    Reason.ENDED: "ended",
    Reason.CONDITION_FALSE: "condition",
    Reason.COOLDOWN: "cool-down",
    Reason.NO_CONSENT: "no consent",
    Reason.NO_PROFILING: "no profiling",
    Reason.SUPPRESSED: "suppressed",
    Reason.NO_ADDRESS: "no address",
    Reason.SCORE_MISSING: "no score",
    Reason.QUIET_HOURS: "quiet hours",
    Reason.SEND_WINDOW: "send window",
    Reason.FREQUENCY_CAP: "caps",
    Reason.SPACING: "caps",
    Reason.EXPIRED: "expired",
    Reason.CANCELLED: "cancelled",
    Reason.BUDGET: "budgets",
    Reason.HELD_FOR_BETTER: "held for a better one",
    Reason.BELOW_NOTHING: "worth less than nothing",
    Reason.OUTRANKED: "outranked",
    Reason.NOT_DRAWN: "not drawn",
    Reason.RENDER_FAILED: "content failed",
    Reason.HOLDOUT: "holdout",
    Reason.CALLER_DECLINED: "declined by the caller",
    Reason.UNDELIVERED: "undelivered",
}
NO_ZONE = "no zone"
_STAGES = list(Stage)
_REASONS = list(Reason)
_RATES = {
    "delivered": "delivery_rate",
    "opened": "open_rate",
    "clicked": "click_through",
    "converted": "conversion",
    "unsubscribed": "unsubscribe_rate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Goals credited to one message: how many, and their value in minor units (null: goals without a value)."""

    n: int = 0
    value_minor: int | None = None


@dataclass(slots=True)
class CampaignTally:
    """Counts per (campaign, channel)."""

    now: datetime
    playbook: Playbook
    lines: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def add(self, send: Send, outcomes: Sequence[Outcome], credit: Credit) -> None:
        """Count one message of the cohort."""
        line = self.lines.setdefault((send.campaign, send.channel), Counter())
        if send.is_virtual:
            line["withheld"] += 1
            return
        line["booked"] += 1
        if send.state is not SendState.SENT:
            line["waiting" if send.state is SendState.RESERVED else "released"] += 1
            return
        line["sent"] += 1
        kinds = {o.kind for o in outcomes if not o.is_machine}
        clicked = OutcomeKind.CLICKED in kinds
        opened = clicked or OutcomeKind.OPENED in kinds
        line["clicked"] += clicked
        line["opened"] += opened
        line["machine_opened"] += any(o.is_machine and o.kind is OutcomeKind.OPENED for o in outcomes)
        line["delivered"] += opened or OutcomeKind.DELIVERED in kinds
        for kind in (OutcomeKind.UNSUBSCRIBED, OutcomeKind.COMPLAINED, OutcomeKind.BOUNCED, OutcomeKind.DISMISSED):
            line[kind.value] += kind in kinds
        line["converted"] += credit.n > 0 or OutcomeKind.CONVERTED in kinds
        line["goals"] += credit.n
        if credit.value_minor is not None:
            line["valued"] += 1
            line["revenue_minor"] += credit.value_minor
        horizon = goal_horizon(send.campaign, self.playbook)
        if horizon is not None and send.handed_off_at is not None and send.handed_off_at + horizon > self.now:
            line["still_open"] += 1

    def rows(self) -> list[dict[str, Any]]:
        """One row per campaign and channel, in order of name; rates in [0, 1], null when nothing was sent."""
        return [self._row(campaign, channel, line) for (campaign, channel), line in sorted(self.lines.items())]

    def _row(self, campaign: str, channel: str, line: Counter[str]) -> dict[str, Any]:
        names = (
            "booked",
            "sent",
            "waiting",
            "released",
            "withheld",
            "delivered",
            "opened",
            "machine_opened",
            "clicked",
        )
        row: dict[str, Any] = {"campaign": campaign, "channel": channel, **{name: line[name] for name in names}}
        spec = self.playbook.spec.campaigns.get(campaign)
        row["goal"] = spec.goal if spec else None
        has_goal = row["goal"] is not None or line["converted"] > 0
        row["converted"] = line["converted"] if has_goal else None
        row["goals"] = line["goals"] if has_goal else None
        row["revenue_minor"] = line["revenue_minor"] if line["valued"] or (has_goal and not line["goals"]) else None
        row |= {name: line[name] for name in ("still_open", "unsubscribed", "complained", "bounced", "dismissed")}
        sent = line["sent"]
        row |= {rate: row[name] / sent if sent and row[name] is not None else None for name, rate in _RATES.items()}
        row["click_to_open"] = line["clicked"] / line["opened"] if line["opened"] else None
        return row


@dataclass(slots=True)
class ReachTally:
    """Chances per campaign: who heard, and the one reason of each who did not."""

    chances: Counter[str] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    removals: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, decision: Decision, released: Mapping[str, Reason | None]) -> None:
        """Count one decision. `released`: messages of it that were let go after all, and why (null: not told)."""
        by_campaign: dict[str, list[Removal]] = {}
        for removal in decision.removed:
            by_campaign.setdefault(removal.campaign, []).append(removal)
            self.removals.setdefault(removal.campaign, Counter())[removal.reason.value] += 1
        booked = {m.campaign: m for m in decision.messages if not m.is_virtual}
        for campaign in {*by_campaign, *(m.campaign for m in decision.messages)}:
            self.chances[campaign] += 1
            message = booked.get(campaign)
            if message is None:
                why = group_of(furthest(by_campaign[campaign]))
            elif message.message_id in released:
                reason = released[message.message_id]
                why = GROUPS[reason] if reason is not None else "released"
            else:
                self.heard[campaign] += 1
                continue
            self.lost.setdefault(campaign, Counter())[why] += 1

    def rows(self) -> list[dict[str, Any]]:
        """One row per campaign, in order of name, its reasons most frequent first; shares in [0, 1] of its chances."""
        return [
            {
                "campaign": campaign,
                "chances": n,
                "heard": self.heard[campaign],
                "heard_share": self.heard[campaign] / n,
                "lost": [
                    {"why": why, "n": lost, "share": lost / n}
                    for why, lost in sorted(self.lost.get(campaign, Counter()).items(), key=lambda it: (-it[1], it[0]))
                ],
                "removals": dict(sorted(self.removals.get(campaign, Counter()).items())),
            }
            for campaign, n in sorted(self.chances.items())
        ]


def furthest(removals: Sequence[Removal]) -> Removal:
    """The removal at the latest stage, then by the latest reason of the list: what kept the best channel back."""
    return max(removals, key=lambda r: (_STAGES.index(r.stage), _REASONS.index(r.reason)))


def group_of(removal: Removal) -> str:
    """The group a removal is reported under."""
    if removal.reason in (Reason.QUIET_HOURS, Reason.SEND_WINDOW) and removal.detail.get("zone") is None:
        return NO_ZONE
    return GROUPS[removal.reason]


def goal_horizon(campaign: str, playbook: Playbook) -> Any:
    """The horizon (timedelta) of a campaign's goal; null when it has none."""
    spec = playbook.spec.campaigns.get(campaign)
    goal = playbook.spec.goals.get(spec.goal) if spec and spec.goal else None
    return goal.horizon if goal else None


def credited(
    sends: Sequence[Send], events: Sequence[Event], wanted: Collection[str], playbook: Playbook
) -> dict[str, Credit]:
    """Goals of one customer credited to their messages, by message id; only `wanted` messages are answered for.

    `sends`: all of the customer's that may be credited; `events`: their events in order. A goal counts for the last
    message sent before it (or at the same instant) among campaigns with that goal, if within the horizon.
    """
    spec = playbook.spec
    sent: dict[str, list[Send]] = {}
    for send in sends:
        campaign = spec.campaigns.get(send.campaign)
        if send.state is SendState.SENT and not send.is_virtual and campaign is not None and campaign.goal:
            sent.setdefault(campaign.goal, []).append(send)
    found: dict[str, Credit] = {}
    for name, candidates in sent.items():
        goal = spec.goals[name]
        for event in events:
            if event.name != goal.event:
                continue
            before = [s for s in candidates if s.handed_off_at is not None and s.handed_off_at <= event.event_at]
            if not before:
                continue
            last = max(before, key=lambda s: (s.handed_off_at, s.message_id))
            assert last.handed_off_at is not None
            if last.message_id not in wanted or event.event_at > last.handed_off_at + goal.horizon:
                continue
            if not playbook.holds(goal.when, {"event": event.properties}):
                continue
            old, worth = found.get(last.message_id, Credit()), value_of(event, goal.value, goal.value_minor)
            total = None if worth is None and old.value_minor is None else (old.value_minor or 0) + (worth or 0)
            found[last.message_id] = Credit(n=old.n + 1, value_minor=total)
    return found


def value_of(event: Event, path: str | None, value_minor: int | None) -> int | None:
    """What one goal was worth in minor units: the property at `path` (major units), else the fixed value, else null."""
    value: Any = event.properties
    for part in path.removeprefix("properties.").split(".") if path else ():
        value = value.get(part) if isinstance(value, Mapping) else None
    worth = to_minor(value) if path else None
    return value_minor if worth is None else worth


def in_words(row: Mapping[str, Any]) -> str:
    """One campaign's funnel as a sentence: `cart_reminder: 240 of 1,000 chances heard; 38 % caps, 12 % no zone`."""
    lost = ", ".join(f"{it['share']:.0%} {it['why']}".replace("%", " %") for it in row["lost"])
    return f"{row['campaign']}: {row['heard']:,} of {row['chances']:,} chances heard" + (f"; {lost}" if lost else "")


def report(
    campaigns: CampaignTally, reach: ReachTally, since: datetime, until: datetime, currency: str
) -> dict[str, Any]:
    """Both parts as one JSON-ready report."""
    return {
        "since": format_instant(since),
        "until": format_instant(until),
        "as_of": format_instant(campaigns.now),
        "currency": currency,
        "campaigns": campaigns.rows(),
        "reach": reach.rows(),
        "definitions": {"campaigns": dict(DEFINITIONS), "reach": dict(REACH_DEFINITIONS)},
    }

"""The world's own count of broken caps, spacing, consent and quiet hours, written apart from the code it checks."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from opportune.playbook.schema import Cap, Counts, PlaybookSpec, QuietHours

ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message that reached the customer's channel at `at` (aware). Flags as in the campaign's playbook entry."""

    message_id: str
    customer_id: str
    campaign: str
    channel: str
    at: datetime
    purpose: str = "marketing"
    topic: str = ""
    tags: tuple[str, ...] = ()
    obeys_caps: bool = True
    obeys_quiet_hours: bool = True
    counts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the world holds a policy to. `consent_default`: channel or `*` -> in/out where the customer said nothing."""

    caps: Mapping[str, Cap] = field(default_factory=dict)
    quiet_hours: QuietHours | None = None
    consent_default: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: PlaybookSpec) -> "Rules":
        """The rules a playbook declares."""
        return cls(caps=spec.caps, quiet_hours=spec.quiet_hours, consent_default=spec.consent.default)

    def is_in_by_default(self, channel: str) -> bool:
        """Whether silence means consent on this channel; a channel not named means out."""
        return self.consent_default.get(channel, self.consent_default.get(ANY, "out")) == "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule: `consent`, `quiet_hours`, or the name of a cap."""

    rule: str
    customer_id: str
    message_id: str
    at: datetime
    detail: str


class Referee:
    """Judges deliveries in time order. Each cap window that ends at a delivery must hold at most `at_most`."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.violations: list[Violation] = []
        self._log: dict[int, list[Delivery]] = defaultdict(list)

    def fork(self) -> "Referee":
        """An independent copy."""
        other = Referee(self.rules)
        other.violations = list(self.violations)
        other._log = defaultdict(list, {who: list(log) for who, log in self._log.items()})
        return other

    def judge(self, who: int, delivery: Delivery, zone: str, has_consent: bool) -> None:
        """Note what this delivery breaks. `zone`: the customer's true zone, told to the policy or not."""
        broken = self.verdict(who, delivery, zone, has_consent)
        if delivery.counts:
            self._log[who].append(delivery)
        self.violations += [
            Violation(
                rule=rule, customer_id=delivery.customer_id, message_id=delivery.message_id, at=delivery.at, detail=text
            )
            for rule, text in broken
        ]

    def verdict(self, who: int, delivery: Delivery, zone: str, has_consent: bool) -> list[tuple[str, str]]:
        """(rule, in words) for each rule that this delivery would break after all judged so far; nothing is noted."""
        rules, log, broken = self.rules, self._log[who], []
        marketing = delivery.purpose != "transactional"
        if marketing and not has_consent:
            broken.append(("consent", f"no consent on {delivery.channel}"))
        if marketing and delivery.obeys_quiet_hours and self.is_quiet(delivery.channel, delivery.at, zone):
            broken.append(("quiet_hours", delivery.at.astimezone(ZoneInfo(zone)).isoformat()))
        if delivery.obeys_caps and marketing:
            broken += [(n, text) for n, cap in rules.caps.items() if (text := _broken(cap, delivery, log, zone))]
        return broken

    def is_quiet(self, channel: str, at: datetime, zone: str) -> bool:
        """Whether the rules ask for silence on the channel at that local time."""
        quiet = self.rules.quiet_hours
        if quiet is None or (quiet.channels is not None and channel not in quiet.channels):
            return False
        local: time = at.astimezone(ZoneInfo(zone)).time()
        if quiet.start <= quiet.end:
            return quiet.start <= local < quiet.end
        return local >= quiet.start or local < quiet.end


def _matches(counts: Counts, delivery: Delivery) -> bool:
    wanted = {
        "channel": counts.channel,
        "topic": counts.topic,
        "purpose": counts.purpose,
        "campaign": counts.campaign,
    }
    same = all(value is None or getattr(delivery, name) == value for name, value in wanted.items())
    return same and (counts.tag is None or counts.tag in delivery.tags)


def _broken(cap: Cap, delivery: Delivery, before: list[Delivery], zone: str) -> str | None:
    """In words how this delivery breaks the cap; null when it does not. The world has no accounts."""
    if cap.per == "account" or not _matches(cap.counts, delivery):
        return None
    counted = [d for d in before if _matches(cap.counts, d)]
    if cap.at_least_apart is not None and counted:
        gap = delivery.at - max(d.at for d in counted)
        if gap < cap.at_least_apart:
            return f"{gap} after the last one, {cap.at_least_apart} asked"
    if cap.at_most is None:
        return None
    start = _window_start(cap, delivery.at, zone)
    n = 1 + sum(d.at > start if cap.rolling is not None else d.at >= start for d in counted)
    return f"{n} in the window, {cap.at_most} allowed" if n > cap.at_most else None


def _window_start(cap: Cap, at: datetime, zone: str) -> datetime:
    """Rolling windows are (at - W, at]; calendar ones start with the day, Monday or month in the customer's zone."""
    if cap.rolling is not None:
        return at - cap.rolling
    local = at.astimezone(ZoneInfo(zone))
    day = local.date()
    if cap.calendar == "week":
        day -= timedelta(days=day.weekday())
    elif cap.calendar == "month":
        day = day.replace(day=1)
    return datetime.combine(day, time(0), ZoneInfo(zone)).astimezone(UTC)

"""What would have had to be otherwise for a campaign to be sent: the gates that shut, one after the other, and for
each the smallest change that opens it. Pure: the case is decided again after every change, by the same pipeline.

A change is the smallest for its gate; together they are what stood in the way, in the order in which it was met.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from opportune.decision.consent import ADDRESS_TRAITS
from opportune.decision.environment import environment
from opportune.decision.pipeline import decide
from opportune.decision.rules import rules_of
from opportune.domain.customers import ANY, Consent, ConsentState
from opportune.domain.decisions import Case, Firing, Reason, Removal, Score, Stage
from opportune.domain.instants import format_instant
from opportune.playbook.flip import Change, changed, flip
from opportune.playbook.load import Playbook

_MOST = 12
_PRECISION = 20
_US = timedelta(microseconds=1)
#: Gates of hours, which ask where the customer is.
_HOURS = (Reason.QUIET_HOURS, Reason.SEND_WINDOW)


@dataclass(frozen=True, slots=True)
class Remedy:
    """One gate and what opens it. `text` says it in words; `change` the same as data (`name`, `found`, `to`)."""

    reason: Reason
    rule: str | None
    text: str
    change: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Remedies:
    """What would have had to be otherwise. `is_reached` false: the last gate cannot be opened by any change known here.

    No remedies and `is_reached`: it was sent as things were.
    """

    campaign: str
    channel: str | None
    remedies: tuple[Remedy, ...]
    is_reached: bool

    @property
    def text(self) -> str:
        """One sentence."""
        if not self.remedies:
            return f"{self.campaign} is sent as things are." if self.is_reached else f"{self.campaign}: nothing known."
        would = "would be sent with" if self.is_reached else "is not reached even with"
        return f"{self.campaign} {would}: {'; '.join(r.text for r in self.remedies)}."


@dataclass(slots=True)
class _Path:
    """The case as changed so far."""

    case: Case
    playbook: Playbook
    remedies: list[Remedy] = field(default_factory=list)


def remedies(case: Case, playbook: Playbook, campaign: str, channel: str | None = None) -> Remedies:
    """What would have sent `campaign` (by `channel`, null: by any) in this case.

    Raises KeyError when the playbook has no such campaign or the campaign no such channel.
    """
    spec = playbook.spec.campaigns[campaign]
    if channel is not None and channel not in spec.channels:
        raise KeyError(channel)
    trigger = case.ask.firing.trigger if case.ask.firing else case.ask.trigger
    if trigger is not None and trigger != spec.trigger:
        case = replace(case, ask=replace(case.ask, trigger=spec.trigger, firing=None))
    path = _Path(case, playbook)
    for _ in range(_MOST):
        decision = decide(path.case, playbook)
        if any(m.campaign == campaign and channel in (None, m.channel) and not m.is_virtual for m in decision.messages):
            return Remedies(campaign, channel, tuple(path.remedies), True)
        shut = _nearest(decision.removed, campaign, channel)
        if shut is None and channel is not None and path.case.ask.channels != (channel,):
            path.case = replace(path.case, ask=replace(path.case.ask, channels=(channel,)))
            path.remedies.append(Remedy(Reason.OUTRANKED, None, f"only {channel} asked for"))
            continue
        if shut is None or not _open(shut, path):
            break
    return Remedies(campaign, channel, tuple(path.remedies), False)


def _nearest(removed: tuple[Removal, ...], campaign: str, channel: str | None) -> Removal | None:
    """The removal of the campaign that came furthest; on any channel when none is named."""
    mine = [r for r in removed if r.campaign == campaign and channel in (None, r.channel)]
    order = ("nominate", "qualify", "place", "afford", "hold", "choose", "render", "withhold")
    return max(mine, key=lambda r: order.index(r.stage.value), default=None)


def _open(shut: Removal, path: _Path) -> bool:
    """Change the case so that this gate opens, and say how; false when nothing known does."""
    before = path.case
    done = _HOW.get(shut.reason, _unknown)(shut, path)
    return done and path.case != before


def _say(path: _Path, shut: Removal, text: str, *changes: Change) -> bool:
    data = tuple({"name": c.name, "found": c.found, "to": c.to} for c in changes)
    path.remedies.append(Remedy(shut.reason, shut.rule, text, data))
    return True


def _unknown(shut: Removal, path: _Path) -> bool:
    words = {
        Reason.ENDED: f"{shut.rule} lies in the past: the playbook would have to say otherwise",
        Reason.RENDER_FAILED: f"content that can be written ({shut.detail.get('message', '')})",
    }
    _say(path, shut, words.get(shut.reason, f"another answer at {shut.reason.value}"))
    return False


def _condition(shut: Removal, path: _Path) -> bool:
    text = str(shut.detail.get("condition", ""))
    changes = flip(text, environment(path.case), path.playbook.spec.audiences)
    if changes is None:
        _say(path, shut, f"`{text}` true")
        return False
    path.case = with_changes(path.case, changes)
    return _say(path, shut, " and ".join(map(str, changes)), *changes)


def with_changes(case: Case, changes: tuple[Change, ...]) -> Case:
    """The case in which these values (of features, scores, traits, context, event) are others."""
    env = changed(environment(case), changes)
    scores = {
        name: replace(case.scores[name], p=p)
        if name in case.scores
        else Score(name=name, p=p, model="assumed", target="")
        for name, p in env["scores"].items()
    }
    ask = replace(case.ask, context=env["context"])
    if any(c.name.startswith("event.") for c in changes):
        firing = ask.firing or Firing(
            trigger=ask.trigger or "", key="", due_at=case.now, set_by="assumed", version=0, properties={}
        )
        ask = replace(ask, firing=replace(firing, properties=env["event"]))
    customer = replace(case.customer, traits=env["traits"])
    return replace(case, features=env["features"], scores=scores, ask=ask, customer=customer)


def _channel(shut: Removal, path: _Path) -> bool:
    asked = (*(path.case.ask.channels or ()), shut.channel or "")
    path.case = replace(path.case, ask=replace(path.case.ask, channels=asked))
    return _say(path, shut, f"{shut.channel} among the channels asked for")


def _later(shut: Removal, path: _Path) -> bool:
    """Time opens it: decide at that instant."""
    at = shut.would_pass_at
    if at is None:
        if shut.reason in _HOURS and shut.detail.get("zone") is None:
            return _zone(shut, path)
        _say(path, shut, f"another rule than {shut.rule}: it never passes")
        return False
    path.case = at_instant(path.case, at)
    held = f"{shut.rule or shut.reason.value}"
    limit = f" ({shut.detail['found']} of {shut.detail['limit']})" if "limit" in shut.detail else ""
    return _say(path, shut, f"the moment {format_instant(at)} or later, for {held}{limit}")


def at_instant(case: Case, at: datetime) -> Case:
    """The case at another moment; a firing is due then."""
    firing = case.ask.firing
    ask = case.ask if firing is None else replace(case.ask, firing=replace(firing, due_at=at))
    return replace(case, now=at, ask=ask)


def _zone(shut: Removal, path: _Path) -> bool:
    if path.case.customer.zone is not None:
        _say(path, shut, f"other hours than those of {shut.rule}: they never open in time")
        return False
    change = Change("traits.timezone", None, "Europe/London", "known")
    path.case = with_changes(path.case, (change,))
    return _say(
        path, shut, "traits.timezone known, so that its own hours count and not those of half the world", change
    )


def _expired(shut: Removal, path: _Path) -> bool:
    firing = path.case.ask.firing
    if firing is None:
        return _unknown(shut, path)
    late = path.case.now - firing.due_at
    path.case = at_instant(path.case, path.case.now)
    return _say(path, shut, f"a decision in time: this one came {late} after it was due")


def _suppressed(shut: Removal, path: _Path) -> bool:
    """A line of the customer's own closes the address, or a suppression list names them."""
    how = shut.detail.get("listed_by")
    if how is None:
        return _consent(shut, path)
    entries = tuple(entry for entry in path.case.suppressions if entry.by.value != how)
    path.case = replace(path.case, suppressions=entries)
    return _say(path, shut, f"the suppression list without this {how} (since {shut.detail['since']})")


def _consent(shut: Removal, path: _Path) -> bool:
    """An opt-in of the very scope that shuts, else of this channel and topic."""
    topic = path.playbook.spec.campaigns[shut.campaign].topic
    profiling = shut.reason is Reason.NO_PROFILING
    channel = "profiling" if profiling else shut.channel or ANY
    scope = (channel, ANY if profiling else topic)
    scopes = {scope}
    if shut.reason is Reason.SUPPRESSED and "/" in str(shut.detail.get("scope", "")):
        first, _, second = str(shut.detail["scope"]).partition("/")
        scopes = {(first, second)}
        scope = (first, second)
    now = path.case.now
    lines = tuple(
        Consent(
            consent_id=f"~assumed:{a}/{b}",
            customer_id=path.case.customer.customer_id,
            channel=a,
            topic=b,
            state=ConsentState.IN,
            at=max([now, *(c.at + _US for c in path.case.consents)]),
            source="assumed",
            recorded_at=now,
        )
        for a, b in sorted(scopes)
    )
    path.case = replace(path.case, consents=(*path.case.consents, *lines))
    said = "consent to profiling" if profiling else f"an opt-in to {scope[0]}, {scope[1]}, given after the opt-out"
    return _say(path, shut, said if not shut.detail.get("default") else f"an opt-in to {scope[0]}, {scope[1]}")


def _address(shut: Removal, path: _Path) -> bool:
    trait = ADDRESS_TRAITS[shut.channel or ""]
    change = Change(f"traits.{trait}", path.case.customer.traits.get(trait), "known@example.org", "known")
    path.case = with_changes(path.case, (change,))
    return _say(path, shut, f"an address: traits.{trait}", change)


def _score(shut: Removal, path: _Path) -> bool:
    condition = str(shut.detail.get("condition", ""))
    changes = flip(condition, environment(path.case), path.playbook.spec.audiences) or ()
    if not changes:
        return _unknown(shut, path)
    path.case = with_changes(path.case, changes)
    return _say(path, shut, " and ".join(map(str, changes)), *changes)


def _worth(shut: Removal, path: _Path) -> bool:
    """The smallest probability of its goal at which it is worth more than nothing, found by halving."""
    name = _score_of(shut, path)
    score = path.case.scores.get(name) if name else None
    if name is None or score is None:
        return _unknown(shut, path)
    key = (shut.campaign, shut.channel, Stage.CHOOSE)

    def with_p(p: float) -> Case:
        return replace(path.case, scores={**path.case.scores, name: replace(score, p=p)})

    def is_worth(p: float) -> bool:
        removed = decide(with_p(p), path.playbook).removed
        mine = [r.reason for r in removed if (r.campaign, r.channel, r.stage) == key]
        return Reason.BELOW_NOTHING not in mine and Reason.BUDGET not in mine

    if not is_worth(1.0):
        _say(
            path, shut, f"a lower cost or a higher value: even with scores.{name} = 1 it is worth no more than nothing"
        )
        return False
    low, high = score.p, 1.0
    for _ in range(_PRECISION):
        middle = (low + high) / 2
        low, high = (low, middle) if is_worth(middle) else (middle, high)
    path.case = with_p(high)
    change = Change(f"scores.{name}", score.p, high, f"at least {high:.4f}")
    return _say(path, shut, f"scores.{name} at least {high:.4f} (it is {score.p:.4f})", change)


def _budget(shut: Removal, path: _Path) -> bool:
    """There is room in the next period; or the room there is now is worth more than the message."""
    return _worth(shut, path) if shut.would_pass_at is None else _later(shut, path)


def _held(shut: Removal, path: _Path) -> bool:
    """The better one is not waiting."""
    by = str(shut.detail.get("by"))
    trigger = path.playbook.spec.campaigns[by].trigger
    coming = tuple(firing for firing in path.case.coming if firing.trigger != trigger)
    path.case = replace(path.case, coming=coming)
    due = f", due {format_instant(shut.would_pass_at)}" if shut.would_pass_at is not None else ""
    return _say(path, shut, f"no {by} waiting{due}, worth {shut.detail.get('limit')}")


def _score_of(shut: Removal, path: _Path) -> str | None:
    return next((o.score for o in rules_of(path.playbook).in_steps[shut.campaign]), None)


def _rank(shut: Removal, path: _Path) -> bool:
    """Room for one message more; where its own campaign spoke on another channel, that channel left out."""
    by = shut.detail.get("by")
    if by == shut.campaign:
        path.case = replace(path.case, ask=replace(path.case.ask, channels=(shut.channel or "",)))
        return _say(path, shut, f"only {shut.channel} asked for: it goes by another channel")
    most = path.case.ask.max_messages or path.playbook.spec.max_messages
    path.case = replace(path.case, ask=replace(path.case.ask, max_messages=most + 1))
    return _say(path, shut, f"more worth than {by}, or room for {most + 1} messages")


def _chance(shut: Removal, path: _Path) -> bool:
    """A test customer is neither explored on nor held out."""
    said = "another draw of the exploration" if shut.reason is Reason.NOT_DRAWN else f"a customer outside {shut.rule}"
    path.case = replace(
        path.case, customer=replace(path.case.customer, traits={**path.case.customer.traits, "is_test": True})
    )
    return _say(path, shut, said)


_HOW: Mapping[Reason, Callable[[Removal, _Path], bool]] = {
    Reason.CHANNEL_NOT_ASKED: _channel,
    Reason.NOT_STARTED: _later,
    Reason.CONDITION_FALSE: _condition,
    Reason.COOLDOWN: _later,
    Reason.NO_CONSENT: _consent,
    Reason.NO_PROFILING: _consent,
    Reason.SUPPRESSED: _suppressed,
    Reason.NO_ADDRESS: _address,
    Reason.SCORE_MISSING: _score,
    Reason.QUIET_HOURS: _later,
    Reason.SEND_WINDOW: _later,
    Reason.FREQUENCY_CAP: _later,
    Reason.SPACING: _later,
    Reason.EXPIRED: _expired,
    Reason.BELOW_NOTHING: _worth,
    Reason.BUDGET: _budget,
    Reason.HELD_FOR_BETTER: _held,
    Reason.OUTRANKED: _rank,
    Reason.NOT_DRAWN: _chance,
    Reason.HOLDOUT: _chance,
}

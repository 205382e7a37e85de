"""Qualify: is the campaign on, does its condition hold, may this customer hear it on this channel?"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opportune.decision.candidate import Candidate, Option, Sifted
from opportune.decision.consent import Refusal, Standing, has_address
from opportune.decision.environment import environment
from opportune.domain.decisions import Case, Reason, Removal, Stage
from opportune.domain.instants import format_instant
from opportune.domain.messages import SendState
from opportune.playbook.load import Playbook

#: reason, rule, detail, would pass at
_Gate = tuple[Reason, str | None, Mapping[str, Any], datetime | None]


def qualify(candidates: list[Candidate], case: Case, playbook: Playbook) -> Sifted:
    """Gates of the campaign first (dates, trigger's and own condition, cool-down), asked once for all its channels;
    then those of the channel: address, suppression, consent. One removal per candidate, by the first gate that shuts.

    A condition that reads a score that is not there is not asked: SCORE_MISSING, or NO_PROFILING when the customer
    does not consent to profiling.
    """
    kept: list[Candidate] = []
    removed: list[Removal] = []
    env = environment(case)
    standing = Standing(case.consents)
    asked: dict[str, _Gate | None] = {}
    for candidate in candidates:
        option = candidate.option
        if option.campaign in asked:
            gate = asked[option.campaign]
        else:
            gate = asked[option.campaign] = (
                _dates(option, case) or _conditions(option, case, env, playbook, standing) or _cooldown(option, case)
            )
        gate = gate or _channel(option, case, playbook, standing)
        if gate is None:
            kept.append(candidate)
            continue
        reason, rule, detail, would_pass_at = gate
        removed.append(
            Removal(
                campaign=option.campaign,
                channel=option.channel,
                variant=candidate.variant,
                stage=Stage.QUALIFY,
                reason=reason,
                rule=rule,
                detail=detail,
                would_pass_at=would_pass_at,
            )
        )
    return Sifted(kept, removed)


def _dates(option: Option, case: Case) -> _Gate | None:
    """The campaign and its trigger have started and not ended."""
    for rule, spec in ((f"{option.campaign}.starts_at", option.spec), (option.trigger, option.trigger_spec)):
        if spec is None:
            continue  # a step of a journey
        if spec.starts_at is not None and case.now < spec.starts_at:
            return Reason.NOT_STARTED, rule, {}, spec.starts_at
        if spec.ends_at is not None and case.now >= spec.ends_at:
            return Reason.ENDED, rule.replace(".starts_at", ".ends_at"), {}, None
    return None


def _conditions(
    option: Option, case: Case, env: Mapping[str, Any], playbook: Playbook, standing: Standing
) -> _Gate | None:
    for condition in option.conditions:
        missing = [name for name in condition.scores if name not in case.scores]
        if missing:
            profiled = standing.may_profile(playbook.spec.consent)
            reason = Reason.SCORE_MISSING if profiled else Reason.NO_PROFILING
            return reason, condition.rule, {"condition": condition.text, "score": missing[0]}, None
        if not playbook.holds(condition.text, env):
            return Reason.CONDITION_FALSE, condition.rule, {"condition": condition.text}, None
    return None


def _cooldown(option: Option, case: Case) -> _Gate | None:
    """Bookings ahead count as spoken. Exactly one cool-down after the last send is late enough."""
    pause = option.spec.cooldown
    if pause is None:
        return None
    said = [s.send_at for s in case.sends if s.campaign == option.campaign and s.state is not SendState.RELEASED]
    if not said or max(said) + pause <= case.now:
        return None
    limit_s, found_s = int(pause.total_seconds()), int((case.now - max(said)).total_seconds())
    detail = {"limit": limit_s, "found": max(0, found_s), "unit": "s"}
    return Reason.COOLDOWN, f"{option.campaign}.cooldown", detail, max(said) + pause


def _channel(option: Option, case: Case, playbook: Playbook, standing: Standing) -> _Gate | None:
    if not has_address(option.channel, case.customer.traits):
        return Reason.NO_ADDRESS, None, {}, None
    refusal = standing.refusal(option.channel, option.topic, option.is_transactional, playbook.spec.consent)
    return None if refusal is None else (refusal.reason, None, _proof(refusal), None)


def _proof(refusal: Refusal) -> Mapping[str, Any]:
    """The line that shuts the gate, for the log; the default when nothing was said."""
    line = refusal.line
    if line is None:
        return {"default": "out"}
    scope = f"{line.channel}/{line.topic}"
    return {"scope": scope, "since": format_instant(line.at), "source": line.source}

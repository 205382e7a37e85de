"""Exposures: which experiments a decision really met. Logged only where it read a value that an experiment overrides.

What counts is the same in every variation, the untouched one included: whether the decision came to the point where the
value is read, never what the value was. Otherwise the arms would not be comparable.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from opportune.decision.candidate import Candidate, Choice, Option
from opportune.domain.decisions import Case, Removal
from opportune.domain.experiments import GLOBAL_HOLDOUT, campaign_of
from opportune.playbook.load import Playbook
from opportune.playbook.overrides import paths_of


class Stepped(Protocol):
    """What a stage left behind."""

    @property
    def stage(self) -> str: ...
    @property
    def kept(self) -> list[Candidate]: ...
    @property
    def removed(self) -> list[Removal]: ...


def exposures_of(
    steps: Sequence[Stepped], chosen: Sequence[Choice], case: Case, playbook: Playbook
) -> tuple[Mapping[str, str], ...]:
    """`{"experiment", "variation", "unit"}` of each experiment this decision was exposed to, by name."""
    met = [name for name in case.assignments if _is_met(name, steps, chosen, case, playbook)]
    return tuple([{"experiment": n, "variation": case.assignments[n], "unit": case.unit} for n in sorted(met)])


def _is_met(name: str, steps: Sequence[Stepped], chosen: Sequence[Choice], case: Case, playbook: Playbook) -> bool:
    would_go = [c.candidate.option for c in chosen if not c.candidate.option.is_transactional]
    if name == GLOBAL_HOLDOUT:
        return bool(would_go)
    campaign = campaign_of(name)
    if campaign is not None:
        return any(option.campaign == campaign for option in would_go)
    experiment = playbook.spec.experiments.get(name)
    if experiment is None:
        return False
    return any(_is_read(tuple(map(str, path)), steps, case, playbook) for path in paths_of(experiment))


def _is_read(path: tuple[str, ...], steps: Sequence[Stepped], case: Case, playbook: Playbook) -> bool:
    """Whether this decision read the value at `path`."""
    section = path[0]
    if section == "campaigns":
        nominated = [s for s in steps if s.stage == "nominate"]
        if any(c.option.campaign == path[1] for s in nominated for c in s.kept):
            return True
        # which channels it has decides which of them are asked for: then not being asked is reading, too
        return path[2] == "channels" and any(r.campaign == path[1] for s in nominated for r in s.removed)
    if section in ("caps", "quiet_hours"):
        placed = _after("qualify", steps)
        if section == "caps":
            if path[2] == "counts":  # whom it counts is what varies: everyone who obeys caps asks
                return any(c.option.obeys_caps for c in placed)
            return any(rule.name == path[1] for c in placed for rule in c.option.caps)
        return any(c.option.spec.obeys_quiet_hours and not c.option.is_transactional for c in placed)
    if section in ("levers", "channels", "fatigue", "hold_for_better"):
        return any(_weighs(path, c.option, playbook) for c in _after("afford", steps))
    drawn = next((s.kept for s in steps if s.stage == "render"), [])
    if section == "exploration":  # never drawn while a transactional message waits, nor without a candidate
        return bool(drawn) and not drawn[0].option.is_transactional
    return case.ask.max_messages is None and any(not c.option.is_transactional for c in drawn)


def _after(stage: str, steps: Sequence[Stepped]) -> list[Candidate]:
    return next((s.kept for s in steps if s.stage == stage), [])


def _weighs(path: tuple[str, ...], option: Option, playbook: Playbook) -> bool:
    """Whether the value of an option depends on the block at `path`, whatever it says."""
    if option.is_transactional or option.goal_minor is None:
        return False
    if path[0] == "levers":
        lever = playbook.spec.levers.get(path[1])
        return lever is not None and (
            path[2] in ("campaign", "channel", "topic", "tag")  # whom it means is what varies: everyone asks
            or lever.means(option.campaign, option.channel, option.topic, option.tags)
        )
    return path[0] != "channels" or path[1] in option.spec.channels

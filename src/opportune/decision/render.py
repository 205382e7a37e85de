"""Render: write the bodies; one that fails is removed, and the next in line moves up."""

from collections.abc import Sequence

from opportune.content import render as words
from opportune.decision.candidate import Candidate, Sifted
from opportune.decision.environment import environment
from opportune.decision.rules import explores
from opportune.domain.decisions import Case, Reason, Removal, Stage
from opportune.playbook.load import Playbook


def render(candidates: Sequence[Candidate], case: Case, playbook: Playbook) -> Sifted:
    """The candidates, best first, with the bodies that may be needed: while exploring all of them, so that the logged
    probabilities are those of actions that can be taken; else only the first that can be written.

    Removes RENDER_FAILED.
    """
    kept: list[Candidate] = []
    removed: list[Removal] = []
    every = explores(case, playbook)
    env = None
    for candidate in candidates:
        if candidate.content is None and (every or not kept):
            env = env or environment(case)
            try:
                content = words.render(candidate.option.contents[candidate.variant], env, candidate.option.channel)
            except words.RenderFailed as failure:
                removed.append(_failed(candidate, str(failure)))
                continue
            candidate = candidate.written(content)
        kept.append(candidate)
    return Sifted(kept, removed)


def _failed(candidate: Candidate, message: str) -> Removal:
    return Removal(
        campaign=candidate.option.campaign,
        channel=candidate.option.channel,
        variant=candidate.variant,
        stage=Stage.RENDER,
        reason=Reason.RENDER_FAILED,
        detail={"message": message[:300]},
    )

"""Check a playbook without running it: what is wrong, what is doubtful, and what is in it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path as File

from opportune.playbook.load import Playbook, load
from opportune.playbook.problems import PlaybookInvalid, Problem


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of a check. `playbook` null: it has problems. `counts`: blocks by section, then empty."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    counts: dict[str, int]
    playbook: Playbook | None

    @property
    def is_valid(self) -> bool:
        """True when it can be served; warnings do not count."""
        return not self.problems

    @property
    def summary(self) -> str:
        """One line: what is in it, or how much is wrong."""
        warned = f", {_many(len(self.warnings), 'warning')}" if self.warnings else ""
        if not self.is_valid:
            return f"{_many(len(self.problems), 'problem')}{warned}"
        return ", ".join(_many(count, section.removesuffix("s")) for section, count in self.counts.items()) + warned


def check(folder: File | None, now: datetime | None = None) -> Checked:
    """Load the playbook of a folder (null: the packaged default) and say all there is to say about it, at `now` (null:
    what holds at any time)."""
    try:
        playbook = load(folder, now)
    except PlaybookInvalid as error:
        return Checked(tuple(error.problems), tuple(error.warnings), {}, None)
    spec = playbook.spec
    counts = {
        "triggers": len(spec.triggers),
        "campaigns": len(spec.campaigns),
        "caps": len(spec.caps),
        "goals": len(spec.goals),
        "topics": len(spec.topics),
        **({"journeys": len(spec.journeys)} if spec.journeys else {}),
        **({"experiments": len(spec.experiments)} if spec.experiments else {}),
    }
    return Checked((), playbook.warnings, counts, playbook)


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"

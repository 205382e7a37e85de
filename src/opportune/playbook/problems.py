"""What is wrong with a playbook, where, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault or warning. `line` counts from 1, 0 when it belongs to no line. `where`: dotted path, may be empty."""

    file: str
    line: int
    where: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"


class PlaybookInvalid(ValueError):
    """A playbook that cannot be used, with everything that is wrong with it at once, and the warnings apart."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        self.problems = list(problems)
        self.warnings = list(warnings)
        super().__init__("\n".join(map(str, self.problems)))

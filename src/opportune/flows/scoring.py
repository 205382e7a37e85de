"""Champions in use: loaded from the shelf, swapped without restart, the last good one kept when a load fails."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from opportune.domain.decisions import Score, Value
from opportune.features import vector
from opportune.learning.model import LoadedModel
from opportune.ports import ModelShelf

log = logging.getLogger("opportune.scoring")


class Scorer:
    """Scores finished feature values with the current champions of `names`.

    `refresh` looks at the shelf and is called by one background thread (or a test); `score` never touches disk.
    """

    def __init__(self, shelf: ModelShelf, names: Sequence[str]) -> None:
        self._shelf = shelf
        self._names = tuple(names)
        self._models: Mapping[str, LoadedModel] = {}
        self._stamps: dict[str, str | None] = {}
        self._lock = threading.Lock()
        #: name -> why the newest champion on disk is not the one in use; empty when all is well.
        self.failures: dict[str, str] = {}

    @property
    def models(self) -> Mapping[str, LoadedModel]:
        """The champions in use now, by name."""
        return self._models

    def refresh(self) -> list[str]:
        """Load what changed on the shelf; returns the labels (`purchase/5`) that came into use."""
        fresh: list[str] = []
        with self._lock:
            for name in self._names:
                stamp = self._shelf.stamp(name)
                if stamp is None or stamp == self._stamps.get(name):
                    continue
                self._stamps[name] = stamp
                try:
                    model = LoadedModel(self._shelf.load(name))
                except (ValueError, OSError) as problem:
                    self.failures[name] = str(problem)
                    kept = self._models[name].label if name in self._models else "no model"
                    log.error("champion %s cannot be used, going on with %s: %s", name, kept, problem)
                    continue
                self.failures.pop(name, None)
                self._models = {**self._models, name: model}
                fresh.append(model.label)
        return fresh

    def score(
        self, customers: Sequence[Mapping[str, Value]], only: Sequence[str] | None = None, explain: Sequence[int] = ()
    ) -> list[dict[str, Score]]:
        """One mapping name -> Score per customer, in order. `only`: these models. `explain`: positions with reasons."""
        answers: list[dict[str, Score]] = [{} for _ in customers]
        if not customers:
            return answers
        for name, model in self._models.items():
            if only is not None and name not in only:
                continue
            matrix = vector.build_many(customers, model.names)
            p = model.predict(matrix)
            reasons = dict(zip(explain, model.explain(matrix[list(explain)]), strict=True)) if explain else {}
            for i, answer in enumerate(answers):
                answer[name] = Score(
                    name=name,
                    p=float(p[i]),
                    model=model.label,
                    target=model.target,
                    reasons=tuple(reasons.get(i, ())),
                )
        return answers


def keep_fresh(
    scorer: Scorer, stop: threading.Event, every_s: float = 1.0, woken: Callable[[], None] | None = None
) -> None:
    """Refresh until stopped; the body of the background thread that notices new champions."""
    while not stop.wait(every_s):
        if scorer.refresh() and woken:
            woken()

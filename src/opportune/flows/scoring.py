"""Champions in use: loaded from the shelf, swapped without restart, the last good one kept when a load fails."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo

import numpy as np

from opportune.decision.hours import next_at, preferring
from opportune.domain.decisions import Score, Value
from opportune.features import vector
from opportune.learning.loading import AnyModel, loaded
from opportune.learning.timing import HoursModel
from opportune.ports import ModelFiles, ModelShelf

log = logging.getLogger("opportune.scoring")


class Scorer:
    """Scores finished feature values with the current champions of `names`.

    `refresh` looks at the shelf and is called by one background thread (or a test); `score` never touches disk.
    """

    def __init__(self, shelf: ModelShelf, names: Sequence[str]) -> None:
        self._shelf = shelf
        self._names = tuple(names)
        self._models: Mapping[str, AnyModel] = {}
        self._stamps: dict[str, str | None] = {}
        self._lock = threading.Lock()
        #: name -> why the newest champion on disk is not the one in use; empty when all is well.
        self.failures: dict[str, str] = {}

    @property
    def models(self) -> Mapping[str, AnyModel]:
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
                    model = loaded(self._shelf.load(name))
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
        """One mapping name -> Score per customer, in order. `only`: these models. `explain`: positions with reasons.

        Hours are not among them: they need the customer's zone, see `best_hours`.
        """
        answers: list[dict[str, Score]] = [{} for _ in customers]
        if not customers:
            return answers
        for name, model in self._models.items():
            if isinstance(model, HoursModel) or (only is not None and name not in only):
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

    def best_hours(
        self,
        customers: Sequence[Mapping[str, Value]],
        zones: Sequence[tzinfo | None],
        now: datetime,
        default_hour: int | None = None,
        explain: Sequence[int] = (),
    ) -> list[Score] | None:
        """The send-time Score of each customer, in order; null when there is no such model.

        `zones`: null where unknown, UTC then stands for local time. `default_hour`: what is preferred where nothing is.
        """
        model = next((m for m in self._models.values() if isinstance(m, HoursModel)), None)
        if model is None:
            return None
        offsets = {zone: (now.astimezone(zone).utcoffset() or now.utcoffset()) for zone in {z for z in zones if z}}
        hours = {zone: offset.total_seconds() / 3600 for zone, offset in offsets.items() if offset is not None}
        matrix = vector.build_many(customers, model.names)
        offset_h = np.array([0.0 if zone is None else hours[zone] for zone in zones])
        has_zone = np.array([zone is not None for zone in zones], dtype=np.bool_)
        explained, soon, scores = set(explain), dict[tuple[int, tzinfo], datetime](), []
        for i, answer in enumerate(model.answers(matrix, offset_h, has_zone, default_hour)):
            zone, best = zones[i] or UTC, answer.best_hour
            if best is not None and (best, zone) not in soon:
                soon[best, zone] = next_at(best, now, zone)
            scores.append(
                Score(
                    name=model.name,
                    p=answer.p,
                    model=model.label,
                    target=model.target,
                    reasons=(answer.reason,) if i in explained else (),
                    hours=answer.hours or (preferring(best) if best is not None else ()),
                    best_hour_local=best,
                    best_at=None if best is None else soon[best, zone],
                )
            )
        return scores


class GivenScores(Scorer):
    """Scores somebody gives, the same for every customer, for tests; no model stands behind them."""

    def __init__(self) -> None:
        super().__init__(_NoModels(), ())
        self.given: dict[str, float] = {}

    def score(
        self, customers: Sequence[Mapping[str, Value]], only: Sequence[str] | None = None, explain: Sequence[int] = ()
    ) -> list[dict[str, Score]]:
        """The given ones, for each customer."""
        scores = {
            name: Score(name=name, p=p, model=f"{name}/given", target="given by the test")
            for name, p in self.given.items()
            if only is None or name in only
        }
        return [dict(scores) for _ in customers]


class _NoModels:
    """A shelf on which nothing stands."""

    def stamp(self, name: str) -> str | None:
        """Null: none."""
        return None

    def load(self, name: str) -> ModelFiles:
        """Raises FileNotFoundError."""
        raise FileNotFoundError(f"no model {name}: scores are given here")


def keep_fresh(
    scorer: Scorer, stop: threading.Event, every_s: float = 1.0, woken: Callable[[], None] | None = None
) -> None:
    """Refresh until stopped; the body of the background thread that notices new champions."""
    while not stop.wait(every_s):
        if scorer.refresh() and woken:
            woken()

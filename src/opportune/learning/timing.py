"""The send-time champion in use: JSON plus manifest -> the chance of each local hour, its best, and why."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.domain.decisions import ScoreReason
from opportune.features import vector
from opportune.learning import manifest as manifests
from opportune.learning.calibration import Floats
from opportune.learning.hours import N_PARTS, UNSEEN, Histories, Timing, to_local
from opportune.ports import ModelFiles

#: Letters and openings of their own from which a customer's hours are called their own.
_OWN_LETTERS, _OWN_OPENED = 3, 1


class HoursAnswer(NamedTuple):
    """For one customer: chance of each local hour relative to their mean (empty: no preference), p at the best hour."""

    hours: tuple[float, ...]
    best_hour: int | None
    p: float
    reason: ScoreReason


class HoursModel:
    """One loaded model. `kind` is `hours`, or `prior`: no hour is preferred, because too few letters could judge one.

    Raises ValueError when hash, manifest, definition hash, numbers or golden rows do not hold.
    """

    def __init__(self, files: ModelFiles) -> None:
        m: Mapping[str, Any] = files.manifest
        manifests.check(m, files.name, files.text)
        manifests.check_definitions(m)
        self.manifest = m
        self.name, self.version, self.kind = files.name, files.version, str(m["kind"])
        self.names: tuple[str, ...] = tuple(m["features"])
        self.target = str(m["target"])
        self._p = float(m.get("p", 0.0))
        self._timing: Timing | None = None
        if self.kind == "hours":
            try:
                self._timing = Timing.from_json(json.loads(files.text))
            except (KeyError, TypeError, json.JSONDecodeError) as problem:
                raise ValueError(f"{self.label} cannot be read: {problem}") from problem
            matrix, expected = manifests.golden_matrix(m)
            if len(expected) and not np.allclose(self.predict(matrix), expected, rtol=0, atol=1e-9):
                raise ValueError(f"{self.label} misses its golden rows: not the model it claims to be")
        elif not 0 <= self._p <= 1:
            raise ValueError(f"the prior of {self.label} is {self._p}, not a probability")

    @property
    def label(self) -> str:
        """`name/version`, as scores carry it."""
        return f"{self.name}/{self.version}"

    @property
    def as_of(self) -> str:
        """Knowledge time of the training data, ISO 8601 UTC."""
        return str(self.manifest.get("as_of", ""))

    def predict(self, matrix: Floats) -> Floats:
        """P(opened) at each customer's best hour, (n,), from (n, 72) histograms, taking UTC for local time."""
        if self._timing is None:
            return np.full(len(matrix), self._p)
        shapes, level, _ = self._timing.shapes(self._local(matrix, np.zeros(len(matrix))))
        return np.asarray(np.clip(self._timing.p * level * shapes.max(axis=1), 0.0, 0.99))

    def answers(
        self, matrix: Floats, offset_h: Floats, has_zone: npt.NDArray[np.bool_], default_hour: int | None
    ) -> list[HoursAnswer]:
        """One answer per row of (n, 72) histograms by UTC hour. `offset_h` (n,): local time minus UTC, hours.

        Without a zone (UTC stands for local time) and without any history of their own nothing tells the hours apart.
        """
        if self._timing is None:
            return [self._no_preference(default_hour, "too few letters of random hours to learn from")] * len(matrix)
        known = self._local(matrix, offset_h)
        shapes, level, parts = self._timing.shapes(known)
        best = shapes.argmax(axis=1)
        mean = shapes.mean(axis=1)
        p = np.clip(self._timing.p * level * shapes[np.arange(len(shapes)), best], 0.0, 0.99)
        p_mean = np.clip(self._timing.p * level * mean, 0.0, 0.99)
        relative = np.round(shapes / mean[:, None], 4).tolist()
        sent, opened = known.sent.sum(axis=1), known.opened.sum(axis=1)
        found = []
        for i, hours in enumerate(relative):
            if not has_zone[i] and parts[i] == UNSEEN and not sent[i]:
                found.append(self._no_preference(default_hour, "no time zone and no history to tell the hours by"))
                continue
            reason = _reason(int(best[i]), int(parts[i]), sent[i], opened[i], float(p[i] - p_mean[i]))
            found.append(HoursAnswer(tuple(hours), int(best[i]), float(p[i]), reason))
        return found

    def _no_preference(self, default_hour: int | None, why: str) -> HoursAnswer:
        instead = "the earliest hour is taken" if default_hour is None else f"the playbook's {default_hour}:00 is taken"
        text = f"No hour is preferred: {why}; {instead}"
        p = self._p if self._timing is None else self._timing.p
        return HoursAnswer((), default_hour, p, ScoreReason(feature="active_hours", value=None, effect=0.0, text=text))

    def _local(self, matrix: Floats, offset_h: Floats) -> Histories:
        wide = {name: matrix[:, 24 * i : 24 * i + 24] for i, name in enumerate(self.names)}
        return histories(wide, offset_h)


def histories(by_utc: Mapping[str, Floats], offset_h: Floats) -> Histories:
    """The three vector features (n, 24) by UTC hour as histories by local hour."""
    return Histories(
        sent=to_local(by_utc["letters_sent_hours"], offset_h),
        opened=to_local(by_utc["letters_opened_hours"], offset_h),
        active=to_local(by_utc["active_hours"], offset_h),
    )


def columns_of(frame: Any, names: Sequence[str]) -> dict[str, Floats]:
    """The vector features of a frame, by name, (n, 24) each."""
    return {name: vector.frame_to_matrix(frame, [name]) for name in names}


def _reason(best: int, part: int, sent: float, opened: float, effect: float) -> ScoreReason:
    when = f"around {best}:00 local time"
    width = 24 // N_PARTS
    usual = f"usually around between {part * width}:00 and {(part + 1) * width}:00"
    if sent >= _OWN_LETTERS and opened >= _OWN_OPENED:
        habit = "" if part == UNSEEN else f", {usual}"
        text = f"Opened {opened:.0f} of {sent:.0f} letters{habit}: most likely to open {when}"
        return ScoreReason(feature="letters_opened_hours", value=round(opened), effect=effect, text=text)
    if part != UNSEEN:
        text = f"{usual.capitalize()}; such customers open most {when}"
        return ScoreReason(feature="active_hours", value=part * width, effect=effect, text=text)
    text = f"Too little is known of this customer; everybody opens most {when}"
    return ScoreReason(feature="active_hours", value=None, effect=effect, text=text)

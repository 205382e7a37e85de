"""The dataset: labelled rows with point-in-time features, split by time."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.features import vector
from opportune.learning import manifest as manifests
from opportune.learning.calibration import Floats
from opportune.learning.fit import Rows, folds_of
from opportune.learning.labels import LabelRow
from opportune.learning.spec import ModelSpec


def bounded(rows: Sequence[LabelRow], at_most: int) -> list[LabelRow]:
    """The rows, or those of a stable sample of customers (by CRC-32 of the id) when there are many more.

    The sample is about `at_most` rows; a customer is in it with all rows or none.
    """
    if len(rows) <= at_most:
        return list(rows)
    edge = int(2**32 * at_most / len(rows))
    return [row for row in rows if zlib.crc32(b"sample:" + row.customer_id.encode()) < edge]


def as_frame(rows: Sequence[LabelRow]) -> Any:
    """The rows to look features up for: a pandas frame of customer_id (str) and at (aware UTC)."""
    import pandas as pd

    return pd.DataFrame(
        {
            "customer_id": pd.Series([row.customer_id for row in rows], dtype="object"),
            "at": pd.to_datetime([row.at for row in rows], utc=True).as_unit("us"),
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled rows: features of the model (matrix) and of the baseline (rfm), cohort numbers into `cut_offs`."""

    rows: Rows
    rfm: Floats
    cut_offs: tuple[datetime, ...]
    n_customers: int
    first_event_at: datetime

    @property
    def fingerprint(self) -> str:
        """`sha256:<hex>` of features, labels and cohorts: equal data, equal fingerprint."""
        parts = (self.rows.matrix, self.rows.reached, self.rows.cohort)
        return manifests.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))

    def where(self, mask: npt.NDArray[np.bool_]) -> "Dataset":
        """The rows under a mask."""
        return replace(self, rows=self.rows.where(mask), rfm=self.rfm[mask])

    def split(self, horizon_days: int) -> tuple["Dataset", "Dataset"]:
        """(training rows, held-out cohort): the newest cohort is held out strictly out of time.

        Training keeps only cut-offs whose labels had matured when the held-out features were taken.
        """
        newest = self.cut_offs[-1]
        limit = newest - timedelta(days=horizon_days)
        old = [i for i, at in enumerate(self.cut_offs) if at <= limit]
        return (
            self.where(np.isin(self.rows.cohort, old)),
            self.where(np.asarray(self.rows.cohort == len(self.cut_offs) - 1)),
        )


def assemble(labels: Sequence[LabelRow], frame: Any, spec: ModelSpec, first_event_at: datetime) -> Dataset:
    """Join labels and the frame of finished features, row by row in the same order.

    Raises RuntimeError when a row was lost or moved on the way; ValueError for a feature that is not one number.
    """
    if len(frame) != len(labels) or [str(c) for c in frame["customer_id"]] != [row.customer_id for row in labels]:
        raise RuntimeError(f"{len(labels)} training rows were asked for, {len(frame)} came back, or in another order")
    wide = [name for name in spec.columns if vector.columns([name]) != [name]]
    if wide:
        raise ValueError(f"vector features cannot be trained on yet: {', '.join(wide)}")
    cut_offs = tuple(sorted({row.at for row in labels}))
    number = {at: i for i, at in enumerate(cut_offs)}
    return Dataset(
        rows=Rows(
            matrix=vector.frame_to_matrix(frame, spec.features),
            reached=np.array([row.is_reached for row in labels], dtype=np.float64),
            cohort=np.array([number[row.at] for row in labels], dtype=np.int64),
            fold=folds_of([row.customer_id for row in labels]),
        ),
        rfm=vector.frame_to_matrix(frame, spec.baseline.names),
        cut_offs=cut_offs,
        n_customers=len({row.customer_id for row in labels}),
        first_event_at=first_event_at,
    )

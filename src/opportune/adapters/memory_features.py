"""The online store in memory: the twin of Feast's, for sandboxes and tests."""

import threading
from collections.abc import Sequence

from opportune.domain.states import StateRow


class MemoryFeatures:
    """`ports.FeatureStore` in a dict. Thread-safe."""

    def __init__(self) -> None:
        self._rows: dict[str, StateRow] = {}
        self._lock = threading.Lock()

    def read(self, customer_ids: Sequence[str]) -> dict[str, StateRow]:
        """Rows that are there."""
        with self._lock:
            return {c: self._rows[c] for c in customer_ids if c in self._rows}

    def project(self, rows: Sequence[StateRow]) -> None:
        """Write rows; an older `committed_at` never replaces a newer one."""
        with self._lock:
            for row in rows:
                kept = self._rows.get(row.customer_id)
                if kept is None or kept.committed_at < row.committed_at:
                    self._rows[row.customer_id] = row

    def remove(self, customer_ids: Sequence[str]) -> None:
        """Drop the rows of these customers."""
        with self._lock:
            for customer_id in customer_ids:
                self._rows.pop(customer_id, None)

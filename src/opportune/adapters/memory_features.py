"""The online store in memory: the twin of Feast's, for simulations and sandboxes of one process."""

from collections.abc import Sequence

from opportune.domain.states import StateRow


class MemoryFeatures:
    """`ports.FeatureStore`. What was never projected is absent, and decisions then read the ledger's state."""

    def __init__(self) -> None:
        self._rows: dict[str, StateRow] = {}

    def read(self, customer_ids: Sequence[str]) -> dict[str, StateRow]:
        """Rows present; absent ones are left out."""
        return {c: self._rows[c] for c in customer_ids if c in self._rows}

    def project(self, rows: Sequence[StateRow]) -> None:
        """Write rows; an older `committed_at` never replaces a newer one."""
        for row in rows:
            kept = self._rows.get(row.customer_id)
            if kept is None or kept.committed_at < row.committed_at:
                self._rows[row.customer_id] = row

    def remove(self, customer_ids: Sequence[str]) -> None:
        """Drop rows; unknown ids are ignored."""
        for customer_id in customer_ids:
            self._rows.pop(customer_id, None)

"""Feature state rows: packed, versioned, per customer."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """Packed feature state of one customer (bytes of features/state.py), with its version in the ledger.

    `committed_at` is strictly increasing per customer: it is the row's timestamp in the online store.
    """

    customer_id: str
    version: int
    state: bytes
    committed_at: datetime

"""Feature services: every champion on the shelf is named in the feature repository, with just what it reads."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opportune.ports import ModelShelf


class ServiceBook(Protocol):
    """Where model versions are registered. Raises Unavailable when the registry cannot be reached."""

    def serve_model(self, label: str, manifest: Mapping[str, Any]) -> str:
        """Register what a model version reads; returns the service's name. Safe to repeat."""
        ...


def serve_models(names: Sequence[str], shelf: ModelShelf, book: ServiceBook, known: set[str]) -> int:
    """Register champions whose label is not in `known` yet, and add it there; returns how many."""
    n = 0
    for name in names:
        stamp = shelf.stamp(name)
        if stamp is None or (label := f"{name}/{stamp.partition(':')[0]}") in known:
            continue
        book.serve_model(label, shelf.load(name).manifest)
        known.add(label)
        n += 1
    return n

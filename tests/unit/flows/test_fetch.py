"""Champions reach the disk once, and again when what lies there cannot be loaded."""

from collections.abc import Mapping

from opportune.flows.fetch import fetch_champions


class OneChampion:
    """A registry with one champion."""

    def champion(self, name: str) -> str | None:
        return "7"

    def fetch(self, name: str, version: str) -> dict[str, bytes]:
        return {"model.txt": b"tree"}


class Shelf:
    """Counts what is put on it."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.n_put = 0

    def champion(self, name: str) -> str | None:
        return self.version

    def put(self, name: str, version: str, files: Mapping[str, bytes]) -> None:
        self.version = version
        self.n_put += 1


def test_a_champion_is_fetched_once_and_again_when_its_copy_is_broken() -> None:
    runlog, shelf = OneChampion(), Shelf()
    assert fetch_champions(("purchase",), runlog, shelf) == ["purchase/7"]  # type: ignore[arg-type]
    assert fetch_champions(("purchase",), runlog, shelf) == []  # type: ignore[arg-type]
    assert fetch_champions(("purchase",), runlog, shelf, broken={"purchase": "no such hash"}) == ["purchase/7"]  # type: ignore[arg-type]
    assert shelf.n_put == 2

"""One transaction in memory: tables are dicts, copied when first written, so that a snapshot is a reference."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

#: table name -> its rows by key. What is committed is never changed in place.
Tables = dict[str, dict[Any, Any]]


class MemoryWork:
    """Reads see the tables as they were at the start plus what this transaction wrote."""

    def __init__(self, tables: Tables, is_writing: bool) -> None:
        self.tables = dict(tables)
        self._is_writing = is_writing
        self._own: set[str] = set()

    def rows(self, name: str) -> dict[Any, Any]:
        """A table, to read."""
        return self.tables.get(name, {})

    def change(self, name: str) -> dict[Any, Any]:
        """A table, to write. Raises RuntimeError in a reading transaction."""
        if not self._is_writing:
            raise RuntimeError("writing in a reading transaction")
        if name not in self._own:
            self.tables[name] = dict(self.tables.get(name, {}))
            self._own.add(name)
        return self.tables[name]

    def next_seq(self, name: str) -> int:
        """1, 2, 3... per name."""
        counters = self.change("counters")
        counters[name] = counters.get(name, 0) + 1
        found: int = counters[name]
        return found

    def link(self, name: str, key: str, members: Iterable[Any]) -> None:
        """Add to the members of a key in an index table."""
        index = self.change(name)
        index[key] = (*index.get(key, ()), *members)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A nested scope: an exception inside undoes only what was written inside."""
        before = dict(self.tables)
        self._own.clear()  # the next write copies, so what `before` holds stays as it is
        try:
            yield
        except BaseException:
            self.tables = before
            self._own.clear()
            raise

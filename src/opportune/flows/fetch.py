"""Fetching: the worker copies champions from the registry to local disk, where the serving process finds them."""

import logging
from collections.abc import Collection, Sequence

from opportune.ports import ModelStock, RunLog

log = logging.getLogger("opportune.fetch")


def fetch_champions(names: Sequence[str], runlog: RunLog, shelf: ModelStock, broken: Collection[str] = ()) -> list[str]:
    """Put every champion on the shelf that is not there yet; returns the labels (`purchase/5`) that are new there.

    `broken`: names whose champion on disk could not be loaded; those are fetched again.

    A champion that cannot be verified is logged and left out; the one on disk stays in use. Raises Unavailable when
    the registry cannot be reached.
    """
    fresh: list[str] = []
    for name in names:
        version = runlog.champion(name)
        if version is None or (version == shelf.champion(name) and name not in broken):
            continue
        try:
            shelf.put(name, version, runlog.fetch(name, version))
        except (ValueError, OSError) as problem:
            log.error("champion %s/%s cannot be used, %s stays: %s", name, version, shelf.champion(name), problem)
            continue
        fresh.append(f"{name}/{version}")
    return fresh

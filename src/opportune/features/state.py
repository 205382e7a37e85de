"""Feature state, all of it under one name: gathered event by event (gather.py), finished at any instant (finish.py)."""

from opportune.features.finish import finalise, finish_packed
from opportune.features.gather import State, StateOutdated, empty, pack, rebuild, unpack, update

__all__ = ["State", "StateOutdated", "empty", "finalise", "finish_packed", "pack", "rebuild", "unpack", "update"]

"""Group commit: together when it can, alone when it must, never lost."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from opportune.api.batcher import Batcher, Full
from opportune.ports import Unavailable


class Recorder:
    """Doubles numbers; a negative number breaks the whole call. Holds calls back while the gate is shut."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, items: Sequence[int]) -> list[int]:
        self.calls.append(list(items))
        self.gate.wait(5)
        if any(i < 0 for i in items):
            raise ValueError("negative")
        if any(i == 0 for i in items):
            raise Unavailable("down")
        return [2 * i for i in items]


def batcher_of(recorder: Recorder, max_weight: int = 4, max_waiting: int = 100) -> Batcher[int, int]:
    return Batcher("test", recorder.run, max_weight=max_weight, max_waiting=max_waiting)


def test_what_waits_together_is_run_together_and_answers_keep_their_order() -> None:
    async def story() -> tuple[list[int], list[list[int]]]:
        recorder = Recorder()
        batcher = batcher_of(recorder)
        results = await asyncio.gather(*(batcher.submit(i) for i in range(1, 11)))
        await batcher.close()
        return list(results), recorder.calls

    results, calls = asyncio.run(story())
    assert results == [2 * i for i in range(1, 11)]
    assert len(calls) < 10
    assert max(map(len, calls)) <= 4
    assert [i for call in calls for i in call] == list(range(1, 11))


def test_one_bad_item_fails_alone() -> None:
    async def story() -> list[int | BaseException]:
        batcher = batcher_of(Recorder(), max_weight=10)
        results = await asyncio.gather(*(batcher.submit(i) for i in (1, -1, 3)), return_exceptions=True)
        await batcher.close()
        return list(results)

    good, bad, last = asyncio.run(story())
    assert (good, last) == (2, 6)
    assert isinstance(bad, ValueError)


def test_an_unavailable_part_fails_all_at_once_without_trying_each() -> None:
    async def story() -> tuple[list[int | BaseException], int]:
        recorder = Recorder()
        batcher = batcher_of(recorder, max_weight=10)
        results = await asyncio.gather(*(batcher.submit(i) for i in (1, 0, 3)), return_exceptions=True)
        await batcher.close()
        return list(results), len(recorder.calls)

    results, n_calls = asyncio.run(story())
    assert all(isinstance(r, Unavailable) for r in results)
    assert n_calls == 1


def test_more_than_may_wait_is_refused_at_once_and_room_comes_back() -> None:
    async def story() -> None:
        recorder = Recorder()
        recorder.gate.clear()
        batcher = batcher_of(recorder, max_weight=1, max_waiting=3)
        waiting = [batcher.submit(i) for i in (1, 2, 3)]
        with pytest.raises(Full):
            batcher.submit(4)
        recorder.gate.set()
        assert await asyncio.gather(*waiting) == [2, 4, 6]
        assert batcher.waiting == 0
        assert await batcher.submit(4) == 8
        await batcher.close()

    asyncio.run(story())


def test_closing_finishes_what_waits_and_takes_on_nothing_more() -> None:
    async def story() -> None:
        batcher = batcher_of(Recorder(), max_weight=1)
        waiting = [batcher.submit(i) for i in range(1, 20)]
        await batcher.close()
        assert await asyncio.gather(*waiting) == [2 * i for i in range(1, 20)]
        assert not batcher.is_alive
        with pytest.raises(Full):
            batcher.submit(1)

    asyncio.run(story())


def test_lanes_never_share_a_call() -> None:
    async def story() -> list[list[int]]:
        recorder = Recorder()
        batcher = batcher_of(recorder, max_weight=100)
        lanes = ["", "slow", "slow", "", "slow"]
        await asyncio.gather(*(batcher.submit(i, 1, lane) for i, lane in enumerate(lanes, 1)))
        await batcher.close()
        return recorder.calls

    lane_of = {1: "", 2: "slow", 3: "slow", 4: "", 5: "slow"}
    for call in asyncio.run(story()):
        assert len({lane_of[i] for i in call}) == 1


def test_an_item_heavier_than_a_batch_goes_alone() -> None:
    async def story() -> list[list[int]]:
        recorder = Recorder()
        batcher = batcher_of(recorder, max_weight=4, max_waiting=5)
        await asyncio.gather(batcher.submit(1, 9))
        await batcher.close()
        return recorder.calls

    assert asyncio.run(story()) == [[1]]


def test_who_has_gone_away_is_not_worked_for() -> None:
    async def story() -> list[list[int]]:
        recorder = Recorder()
        recorder.gate.clear()
        batcher = batcher_of(recorder, max_weight=1)
        first, gone = batcher.submit(1), batcher.submit(2)
        await asyncio.sleep(0.01)
        gone.cancel()
        recorder.gate.set()
        assert await first == 2
        await batcher.close()
        assert batcher.waiting == 0
        return recorder.calls

    assert asyncio.run(story()) == [[1]]


def test_callers_who_ask_again_at_once_do_not_split_into_groups_that_take_turns() -> None:
    async def story() -> list[int]:
        sizes: list[int] = []

        def run(items: Sequence[int]) -> Sequence[int]:
            sizes.append(len(items))
            time.sleep(0.004)
            return items

        batcher: Batcher[int, int] = Batcher("test", run, max_weight=64, max_waiting=100)

        async def caller() -> None:
            for i in range(25):
                await batcher.submit(i)

        await asyncio.gather(*(caller() for _ in range(8)))
        await batcher.close()
        return sizes

    sizes = sorted(asyncio.run(story()))
    assert sizes[len(sizes) // 2] >= 7

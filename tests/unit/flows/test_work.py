"""The worker's lanes: what is slow in one holds up nothing in another."""

import threading

from opportune.flows.work import Duty, Worker


def test_a_message_does_not_wait_for_a_publishing_that_hangs() -> None:
    stop, hanging, n_delivered = threading.Event(), threading.Event(), threading.Semaphore(0)

    def deliver() -> int:
        n_delivered.release()
        return 0

    def publish() -> int:
        hanging.set()
        stop.wait(10)
        return 0

    worker = Worker({"publish": Duty(publish, every_s=0), "deliver": Duty(deliver, every_s=0)})
    lanes = [threading.Thread(target=lane.run, args=(stop, 0.001)) for lane in worker.lanes(("publish",), ("deliver",))]
    for lane in lanes:
        lane.start()
    assert hanging.wait(5)
    assert all(n_delivered.acquire(timeout=5) for _ in range(3))
    stop.set()
    for lane in lanes:
        lane.join(5)
    assert not any(lane.is_alive() for lane in lanes)


def test_a_duty_that_fails_waits_while_the_others_go_on() -> None:
    now = [0.0]
    done: list[str] = []

    def fails() -> int:
        done.append("failed")
        raise ValueError("broken")

    worker = Worker(
        {"bad": Duty(fails, every_s=0), "good": Duty(lambda: done.append("good") or 0, every_s=0)},
        backoff_s=5,
        monotonic=lambda: now[0],
    )
    worker.round()
    now[0] = 1.0
    worker.round()
    assert done == ["failed", "good", "good"]
    now[0] = 6.0
    worker.round()
    assert done == ["failed", "good", "good", "failed", "good"]
    assert worker.failures == {"bad": 2}


def test_to_exhaust_is_to_ask_again_those_that_had_nothing_before_another_made_work() -> None:
    """A quick duty that found nothing gets what a later one makes; slow ones are not asked more often than they say."""
    queue: list[str] = []
    taken: list[str] = []
    asked_slowly: list[int] = []
    to_make = ["a", "b"]

    def take() -> int:
        n = len(queue)
        taken.extend(queue)
        queue.clear()
        return n

    def make() -> int:
        if not to_make:
            return 0
        queue.append(to_make.pop())
        return 1

    def slow() -> int:
        asked_slowly.append(1)
        return 0

    duties = {"take": Duty(take, every_s=0.1), "make": Duty(make, every_s=0.1), "slow": Duty(slow, every_s=30.0)}
    Worker(duties, monotonic=lambda: 0.0).exhaust()
    assert sorted(taken) == ["a", "b"]
    assert len(asked_slowly) == 1

"""Contestants take turns, so that a busy machine is as unfair to each of them."""

import time
from collections.abc import Callable, Sequence

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def turns(
    calls: Sequence[Callable[[], object]],
    rounds: int,
    clock: str = "wall",
    wait: Callable[[], object] = lambda: None,
) -> list[list[float]]:
    """Seconds of every call in every round, after a round that does not count.

    Args:
        calls: the contestants.
        rounds: in which each is called once, in order.
        clock: "wall", or "cpu" for processor time of this process, all its threads together: on a busy
            machine and with one thread the fairer one.
        wait: until a device has done what it was given; called before and after each call.

    >>> [len(times) for times in turns([int, str], rounds=3)]
    [3, 3]
    """
    now = CLOCKS[clock]
    times: list[list[float]] = [[] for _ in calls]
    for round_ in range(-1, rounds):
        for which, call in enumerate(calls):
            wait()
            start = now()
            call()
            wait()
            if round_ >= 0:
                times[which].append(now() - start)
    return times

"""Time and peak memory of contestants that take turns, so that a busy machine is as unfair to each of them."""

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

M_MMAP_THRESHOLD = -3
STATUS = Path("/proc/self/status")
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


def extra_peak(call: Callable[[], object], device: str = "cpu") -> int | None:
    """Bytes that the process (CPU) or the allocator (CUDA) held at most during call, above before.

    On Linux CPUs this is the peak of resident memory: it counts scratch space of any library, not
    only tensors. Returns None where the system cannot tell.
    """
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    # freed blocks must return to the system, or a call that reuses them would look free of cost
    libc.mallopt(M_MMAP_THRESHOLD, 65536)
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    line = next(s for s in STATUS.read_text().splitlines() if s.startswith(field))
    return int(line.split()[1]) * 1024


def own_peak() -> int | None:
    """This process's own peak of resident memory; getrusage's would begin at its parent's."""
    return _status("VmHWM") if STATUS.exists() else None

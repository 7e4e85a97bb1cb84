"""The random generators of a process: read, set, and left as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def derived(*numbers: int) -> int:
    """A seed in [0, 2^63) that is a function of several numbers, unlike for all that differ in one.

    >>> derived(0, 1) == derived(0, 1), derived(0, 1) == derived(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed(number: int) -> None:
    """Set the generators of Python, numpy and torch on every device."""
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def capture() -> dict[str, Any]:
    """The state of every generator, in types that load with `weights_only=True`."""
    name, keys, *rest = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def restore(state: dict[str, Any]) -> None:
    """Set what `capture` returned; CUDA's only where as many devices are there as then."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def isolated() -> Iterator[None]:
    """Whatever is drawn or set inside, the generators are afterwards as before."""
    before = capture()
    try:
        yield
    finally:
        restore(before)

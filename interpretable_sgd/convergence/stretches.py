"""Stretches of steps, each read once at a random step: an unbiased mean over all steps.

A deterministic choice of steps, with the trapezoidal rule between them, is a few per cent too high
for what falls, and blind to what comes after its last step. A step drawn from each of stretches
that cover 1 to T, weighted by the stretch's length, has the mean over all T steps as its expectation.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def stretch_end(start: int, per_decade: int, horizon: int | None, longest: float) -> int:
    """The last step of the stretch that begins after step `start`.

    Ends are 10^(k / per_decade), rounded; no stretch is longer than `longest` steps, and with a
    horizon T one of them ends there.

    >>> [stretch_end(start, 4, None, math.inf) for start in (0, 1, 2, 3, 6, 10)]
    [1, 2, 3, 6, 10, 18]
    >>> stretch_end(90, 4, 100, 8.0), stretch_end(98, 4, 100, 8.0)
    (98, 100)
    """
    first = int(per_decade * math.log10(start)) if start else 0
    powers = (round(10 ** (k / per_decade)) for k in itertools.count(first))
    end = next(later for later in powers if later > start)
    end = min(end, start + max(1, math.floor(longest))) if longest < math.inf else end
    return min(end, horizon) if horizon is not None and start < horizon else end


def drawn_step(start: int, end: int, seed: int) -> int:
    """A step of start + 1 to end, each as likely; a function of (seed, start), so without state.

    >>> {drawn_step(10, 12, seed) for seed in range(20)}
    {11, 12}
    """
    offset = np.random.default_rng([abs(seed), int(seed < 0), start]).integers(end - start)
    return start + 1 + int(offset)


def widths(ends: Array, since: int, last: int) -> Array:
    """Steps that each reading stands for, of since + 1 to `last`: those up to its stretch's end.

    A stretch without a reading counts to the next one; what comes after the last one, to it.

    >>> widths(np.array([1.0, 3.0, 8.0]), since=0, last=6).tolist()
    [1.0, 2.0, 3.0]
    """
    inner = np.minimum(ends[:-1], last)
    return np.diff(np.concatenate([[since], inner, [last]]))

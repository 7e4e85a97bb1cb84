"""Power of the rate test: how often its quick design accepts what works and rejects what does not.

Every repetition is the whole experiment of `rate_test.control_check`: four horizons, two starts, all
seeds, both intervals, one verdict. An optimizer is judged on its own, and the worst one counts.
"""

import functools

import numpy as np

from interpretable_sgd.convergence import fit_power
from theory.claim import HOLDS, Check, Claim
from theory.rate_test.controls import CONTROLS, Control, averages
from theory.rate_test.designs import QUICK
from theory.rate_test.ruling import STARTS
from theory.reference.problems import Array

REPETITIONS, WANTED = 200, 0.95


def rejected(control: Control, repetitions: int, seeds: int, rng: np.random.Generator) -> Array:
    """Whether the test rejects, in independent repetitions of the quick design."""
    times = QUICK.horizons
    starts = np.repeat(list(STARTS.values()), repetitions)[:, None]
    shape = (len(starts), seeds)
    columns = [averages(control, int(T), starts, shape, rng) for T in times]
    values = np.stack(columns, axis=1)
    # Resampled means of all repetitions at once would not fit in the cache.
    parts = np.array_split(values, 20)
    shown = [fit_power(times, part, resamples=400, seed=rng).shows(0.5) for part in parts]
    return np.asarray(~np.concatenate(shown).reshape(len(STARTS), repetitions).all(0))


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % Wilson interval of a proportion."""
    share, spread = successes / n, z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = np.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return float(centre - half), float(centre + half)


def _share(works: bool, quick: bool, seed: int) -> Check:
    """The smallest share of right verdicts among the optimizers of one kind."""
    rng = np.random.default_rng(seed)
    rights, notes, numbers = [], [], dict[str, float]()
    for control in CONTROLS:
        if control.works != works:
            continue
        verdicts = rejected(control, REPETITIONS, QUICK.seeds, rng)
        right = int((verdicts != works).sum())
        low, high = wilson(right, REPETITIONS)
        rights.append(right)
        numbers |= {control.name: right / REPETITIONS, f"{control.name} low": low}
        numbers[f"{control.name} high"] = high
        notes.append(f"{control.name} {right}/{REPETITIONS} [{low:.3f}, {high:.3f}]")
    return Check(
        min(rights) / REPETITIONS,
        WANTED,
        ">=",
        n=REPETITIONS,
        seeds=QUICK.seeds,
        note="; ".join(notes),
        numbers=numbers,
    )


CLAIMS = [
    Claim(
        "power-correct",
        "rate test",
        "at least 95 % of correct optimizers pass",
        HOLDS,
        functools.partial(_share, True),
    ),
    Claim(
        "power-broken",
        "rate test",
        "at least 95 % of broken optimizers are rejected",
        HOLDS,
        functools.partial(_share, False),
    ),
]

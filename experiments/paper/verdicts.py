"""Judges of sentences about nets: each says what the runs say, and whether the sentence holds."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from experiments.store import Stored
from experiments.tables import NONE, Paired, paired

HOLDS, FAILS, OPEN, NOT_MEASURED = "holds", "fails", "open", "not measured"
LITERAL = ("paper", "code")  # scales whose accuracies are comparable with the paper's
Nets = Mapping[str, Sequence[Stored]]
Measure = Callable[[Stored], float]  # NaN where a run does not have it


class Finding(NamedTuple):
    """What the runs say: in words, from so many seeds, and whether the sentence holds."""

    here: str
    seeds: int
    verdict: str


Judge = Callable[[Nets], Finding]


def verdict(difference: Paired, least: float) -> str:
    """Whether a difference is at least so much.

    >>> [verdict(Paired(0.5, width, 3), 0.0) for width in (0.1, 0.9, None)]
    ['holds', 'open', 'open']
    """
    if difference.half_width is None:
        return OPEN
    if difference.mean - difference.half_width >= least:
        return HOLDS
    return FAILS if difference.mean + difference.half_width < least else OPEN


def above(
    net: str, other: str, measure: Measure, least: float = 0.0, scale: float = 100, digits: int = 1
) -> Judge:
    """That a net's number exceeds another's by at least so much."""

    def judge(nets: Nets) -> Finding:
        pair = _difference(nets, net, other, measure)
        if pair is None:
            return Finding(NONE, 0, NOT_MEASURED)
        return Finding(pair.text(scale, digits), pair.n, verdict(pair, least))

    return judge


def near(net: str, other: str, measure: Measure, margin: float) -> Judge:
    """That a net's number is another's, by a margin on either side."""

    def judge(nets: Nets) -> Finding:
        pair = _difference(nets, net, other, measure)
        if pair is None:
            return Finding(NONE, 0, NOT_MEASURED)
        said = {verdict(pair, -margin), verdict(pair._replace(mean=-pair.mean), -margin)}
        whole = FAILS if FAILS in said else OPEN if OPEN in said else HOLDS
        return Finding(pair.text(100, 1), pair.n, whole)

    return judge


def at_least(net: str, measure: Measure, least: float, sign: int = 1, unit: str = " %") -> Judge:
    """That a net's number is at least so much, or with sign -1 at most."""

    def judge(nets: Nets) -> Finding:
        values = list(_by_seed(nets, net, measure).values())
        if not values:
            return Finding(NONE, 0, NOT_MEASURED)
        pair = paired([sign * v for v in values], [sign * least] * len(values))
        scale = 100 if unit == " %" else 1
        text = f"{scale * np.mean(values):.1f}{unit}"
        if pair.half_width:
            text += f" +- {scale * pair.half_width:.1f}"
        return Finding(text, pair.n, verdict(pair, 0.0))

    return judge


def falling(names: Sequence[str], measure: Measure, digits: int = 2) -> Judge:
    """That a number falls from each net to the next, in every seed."""

    def judge(nets: Nets) -> Finding:
        by_seed = [_by_seed(nets, name, measure) for name in names]
        seeds = set.intersection(*map(set, by_seed))
        if not seeds:
            return Finding(NONE, 0, NOT_MEASURED)
        ordered = [all(a[s] > b[s] for a, b in pairwise(by_seed)) for s in sorted(seeds)]
        means = [np.mean([values[seed] for seed in seeds]) for values in by_seed]
        text = ", ".join(f"{mean:.{digits}f}" for mean in means)
        one = (
            OPEN if len(seeds) == 1 else HOLDS if all(ordered) else OPEN if any(ordered) else FAILS
        )
        return Finding(text, len(seeds), one)

    return judge


def unmeasured(why: str) -> Judge:
    """That nothing here can say it."""
    return lambda nets: Finding(why, 0, NOT_MEASURED)


def best_is_near(net: str, names: Sequence[str], measure: Measure, margin: float) -> Judge:
    """That a net is, seed by seed, at most a margin below the best of some."""

    def judge(nets: Nets) -> Finding:
        by_seed = [_by_seed(nets, name, measure) for name in (*names, net)]
        seeds = sorted(set.intersection(*map(set, by_seed)))
        if not seeds:
            return Finding(NONE, 0, NOT_MEASURED)
        best = [max(values[seed] for values in by_seed) for seed in seeds]
        pair = paired([by_seed[-1][seed] for seed in seeds], best)
        return Finding(pair.text(100, 1), pair.n, verdict(pair, -margin))

    return judge


def as_published(top: Mapping[str, float], measure: Measure, why: str) -> Judge:
    """That nets trained as the paper's have its accuracies, in percent, within a point; why there are none."""

    def judge(nets: Nets) -> Finding:
        literal = {
            name: [100 * measure(run) for run in nets.get(name, ()) if run["scale"] in LITERAL]
            for name in top
        }
        near = [abs(np.mean(own) - top[name]) <= 1 for name, own in literal.items() if own]
        if not near:
            return Finding(why, 0, NOT_MEASURED)
        seeds = min(len(own) for own in literal.values() if own)
        text = f"{sum(near)} of {len(near)} within a point"
        return Finding(text, seeds, HOLDS if all(near) else FAILS)

    return judge


def of_the_paper(difference: float, least: float) -> Judge:
    """What the paper's own table says."""
    return lambda nets: Finding(f"{difference:+.2f}", 0, HOLDS if difference >= least else FAILS)


def _by_seed(nets: Nets, name: str, measure: Measure) -> dict[int, float]:
    """What was measured, by seed."""
    values = {run["seed"]: measure(run) for run in nets.get(name, ())}
    return {seed: value for seed, value in values.items() if not np.isnan(value)}


def _difference(nets: Nets, net: str, other: str, measure: Measure) -> Paired | None:
    first, second = (_by_seed(nets, name, measure) for name in (net, other))
    seeds = sorted(first.keys() & second.keys())
    return paired([first[s] for s in seeds], [second[s] for s in seeds]) if seeds else None

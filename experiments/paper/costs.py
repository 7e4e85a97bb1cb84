"""What runs cost: epochs of each, and core-seconds where they were measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experiments.paper.grids import SCENES
from experiments.paper.methods import method
from experiments.paper.planned import Planned
from experiments.paper.recipes import recipe

SMALL, MIDDLE, LARGE = SCENES["tiny"]
# CPU seconds of one run, judging included, one thread of an AMD EPYC on a busy machine, torch 2.14.1
MEASURED: dict[tuple[str, str, str], float] = {
    ("tiny", "cifar10", "resnet18"): 5.4,
    ("tiny", "cifar10", "resnet50"): 11.3,
    ("tiny", "places365", "resnet18"): 6.3,
    ("tiny", "places365", "resnet50"): 11.3,
    ("tiny", SMALL, "resnet18"): 6.2,
    ("tiny", MIDDLE, "resnet18"): 13.4,
    ("tiny", LARGE, "resnet18"): 9.5,
}


def epochs(planned: Planned) -> int:
    """Passes of a run over its training images."""
    return method(planned.method).adapt(recipe(planned.data, planned.scale)).epochs


def seconds(planned: Sequence[Planned]) -> float | None:
    """Of all on one core; None unless each was measured."""
    known = [MEASURED.get((p.scale, p.data, p.network[:8])) for p in planned]
    return None if None in known else sum(filter(None, known))


def spoken(planned: Sequence[Planned]) -> tuple[str, str]:
    """Runs x epochs, and minutes on one core, in words.

    >>> spoken([])
    ('none', '0')
    """
    runs = Counter(map(epochs, planned))
    lengths = " + ".join(f"{count} x {length}" for length, count in sorted(runs.items()))
    cost = seconds(planned)
    return lengths or "none", "?" if cost is None else f"{cost / 60:.0f}"

"""What the questions are asked on: scenes of growing size.

Learning rates were chosen for SGD, on validation images of seed 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from experiments.datasets.synthetic.scenes import Scenes
from experiments.models.classifiers import Classifier, small_resnet
from experiments.models.scene_nets import widened
from experiments.problems import Problem


def _scenes(seed: int, classes: int, concepts: int, size: int = 24) -> Scenes:
    return Scenes(classes=classes, concepts=concepts, size=size, seed=seed)


SIZES = {
    64: Problem(
        "scenes-64",
        partial(_scenes, classes=24, concepts=16),
        small_resnet,
        (5000, 1500, 2000),
        epochs=8,
        lr=0.2,
    ),
    128: Problem(
        "scenes-128",
        partial(_scenes, classes=50, concepts=24),
        partial(widened, units=128),
        (5000, 1500, 2000),
        epochs=8,
        lr=0.2,
    ),
    512: Problem(
        "scenes-512",
        partial(_scenes, classes=120, concepts=40),
        partial(widened, units=512),
        (6000, 1500, 2400),
        epochs=8,
        lr=0.2,
    ),
}


def enlarged(problem: Problem, times: int) -> Problem:
    """The same with so many times the training images, and so as many times the steps.

    >>> enlarged(SIZES[64], 3).sizes
    (15000, 1500, 2000)
    """
    if times == 1 or problem.sizes is None:
        return problem
    train, *others = problem.sizes
    return replace(problem, name=f"{problem.name}, x{times}", sizes=(times * train, *others))


HALVING = partial(small_resnet, strides=(2, 2, 2))


def resolved(
    classes: int = 24,
    concepts: int = 16,
    size: int = 48,
    net: Callable[[int, int], Classifier] = HALVING,
    epochs: int = 16,
) -> Problem:
    """Scenes of question two, by default of 48 pixels; unit maps of 6x6 cells then have the size of half an object."""
    return Problem(
        f"scenes-{classes}-{concepts}-{size}px",
        partial(_scenes, classes=classes, concepts=concepts, size=size),
        net,
        (5000, 1500, 2000),
        epochs=epochs,
        lr=0.2,
    )


CONCEPTS = resolved()

"""What is trained on what: data set, net, sizes and length of each experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from experiments.datasets.digits import Digits
from experiments.datasets.rng import SPLITS
from experiments.datasets.synthetic.glyphs import Glyphs
from experiments.datasets.synthetic.scenes import Scenes
from experiments.models.classifiers import Classifier, digits_resnet, glyph_net, small_resnet


@dataclass(frozen=True)
class Problem:
    """One data set with the net and the plan of training for it.

    Attributes:
        name: how it is called on the command line.
        source: the data set of a seed.
        architecture: a net for (channels, classes).
        sizes: images to train, validate and test on; None for all there are.
        epochs: passes over the training images.
        lr: the largest learning rate of both optimizers, chosen for SGD on validation images.
        batch: images in a step.
        contestants: ways to train it, see `experiments.contestants`.
    """

    name: str
    source: Callable[[int], Digits | Glyphs | Scenes]
    architecture: Callable[[int, int], Classifier]
    sizes: tuple[int, int, int] | None
    epochs: int
    lr: float
    batch: int = 64
    contestants: tuple[str, ...] = ("SGD", "InterpretableSGD")

    def load(self, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Images and labels by split."""
        data = self.source(seed)
        if isinstance(data, Digits):
            splits = {split: data.tensors(split) for split in SPLITS}
            if self.sizes is None:
                return splits
            cut = dict(zip(SPLITS, self.sizes, strict=True))
            return {s: (x[: cut[s]], y[: cut[s]]) for s, (x, y) in splits.items()}
        if self.sizes is None:
            raise ValueError(f"sizes must be numbers for generated data, got None for {self.name}")
        return {s: data.tensors(s, n) for s, n in zip(SPLITS, self.sizes, strict=True)}

    def named(self, seed: int, n: int) -> dict[str, np.ndarray]:
        """What the first n test images show: labels, class names, masks of the label's concepts.

        Masks are (n, concepts, h, w), False for other concepts; without any where the data has none.
        """
        data = self.source(seed)
        names = {"class_names": np.array(data.class_names)}
        if isinstance(data, Digits):
            labels = data.tensors("test")[1][:n]
            masks = torch.zeros(n, 0, data.size, data.size, dtype=torch.bool)
        else:
            labels = data.tensors("test", n)[1]
            masks = data.masks("test", n) & data.composition[labels][:, :, None, None]
        return names | {"labels": labels.numpy(), "masks": masks.numpy()}

    def scaled(self, scale: float) -> Problem:
        """The same with fewer images and epochs, for a quick look at the machinery.

        >>> PROBLEMS["scenes"].scaled(0.1).sizes
        (500, 150, 200)
        """
        if scale == 1:
            return self
        sizes = self.sizes or (1083, 359, 355)
        small = tuple(max(2 * self.batch, round(scale * n)) for n in sizes)
        return replace(self, sizes=small, epochs=max(1, round(scale * self.epochs)))


# Digits saturate: they test the machinery and say nothing about accuracy.
PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("digits", Digits, digits_resnet, None, epochs=40, lr=0.2),
        Problem(
            "scenes",
            lambda s: Scenes(seed=s),
            small_resnet,
            (5000, 1500, 2000),
            epochs=8,
            lr=0.2,
            contestants=("SGD", "InterpretableSGD", "SGD with L1"),
        ),
        Problem(
            "glyphs", lambda s: Glyphs(seed=s), glyph_net, (6000, 1500, 2000), epochs=8, lr=0.4
        ),
    )
}

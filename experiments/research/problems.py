"""Scenes of growing size, and of higher resolution, that the questions are asked on.

Learning rates were chosen for SGD, on validation images of seed 0.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import store
from experiments.evaluation.sparse_heads import PostHoc
from experiments.launch import train_all
from experiments.methods import DENSE, Method
from experiments.models.registry import Model
from experiments.recipes import Recipe
from experiments.research.tables import COUNT
from experiments.run import Environment, Protocol, Run

SHORT = Recipe(epochs=8, batch=64, lr=0.2, channels_last=True)
AGREEMENT = 1000  # images on which classes are compared with concepts
QUICK = 0.05  # of the images and epochs, to see it work


@dataclass(frozen=True)
class Problem:
    """A data set of scenes with a network and a recipe.

    Attributes:
        name: the scale that its runs are stored under.
        scenes: parameters of the scenes.
        images: to train, validate and test on.
        model: the network.
        recipe: how long.
        kind: of the scenes: drawn ones, or stamps.
    """

    name: str
    scenes: dict[str, Any]
    images: tuple[int, int, int] = (5000, 1500, 2000)
    model: Model = field(default_factory=lambda: Model("small_resnet"))
    recipe: Recipe = SHORT
    kind: str = "scenes"

    @property
    def data(self) -> str:
        """As a run names it."""
        counts = dict(zip(("train", "validation", "test"), self.images, strict=True))
        return f"{self.kind}:" + ",".join(f"{k}={v}" for k, v in {**self.scenes, **counts}.items())

    def scaled(self, share: float) -> "Problem":
        """With fewer images and epochs, for a quick look at the machinery."""
        if share == 1:
            return self
        train, validation, test = (
            max(2 * self.recipe.batch, round(share * n)) for n in self.images
        )
        name, recipe = f"{self.name}, quick", self.recipe.scaled(share)
        return replace(self, name=name, images=(train, validation, test), recipe=recipe)

    def enlarged(self, times: int) -> "Problem":
        """With so many times the training images, and so as many times the steps.

        >>> SIZES[64].enlarged(3).images
        (15000, 1500, 2000)
        """
        if times == 1:
            return self
        train, *others = self.images
        images = (times * train, others[0], others[1])
        return replace(self, name=f"{self.name}, x{times}", images=images)

    def run(
        self, method: Method, seed: int, split: str = "test", strengths: tuple[float, ...] = ()
    ) -> Run:
        """One training; heads are fitted afterwards on the dense network's units where there are strengths."""
        dense = method.optimizer == DENSE.optimizer and not (method.l1 or method.dynamic)
        post_hoc = PostHoc(strengths, cut=COUNT) if strengths and dense else None
        protocol = Protocol(split, agreement=AGREEMENT, post_hoc=post_hoc)
        return Run(self.data, self.model, method, self.recipe, protocol, self.name, seed)


SIZES = {
    64: Problem("scenes-64", {"classes": 24, "concepts": 16}),
    128: Problem(
        "scenes-128", {"classes": 50, "concepts": 24}, model=Model("widened", {"units": 128})
    ),
    512: Problem(
        "scenes-512",
        {"classes": 120, "concepts": 40},
        (6000, 1500, 2400),
        Model("widened", {"units": 512}),
    ),
}
HALVING = Model("small_resnet", {"strides": (2, 2, 2)})


def resolved(
    name: str,
    classes: int = 24,
    concepts: int = 16,
    size: int = 48,
    model: Model = HALVING,
    epochs: int = 16,
) -> Problem:
    """Scenes of question two, by default of 48 pixels; unit maps of 6x6 cells then have the size of half an object."""
    scenes = {"size": size, "classes": classes, "concepts": concepts}
    return Problem(name, scenes, model=model, recipe=replace(SHORT, epochs=epochs))


CONCEPTS = resolved("48 px, 16 epochs")
# real cut-outs, twice as large a picture, unit maps of 6x6 cells again
STAMPS = Problem(
    "stamps, 96 px",
    {"size": 96, "classes": 24, "concepts": 32},
    (4800, 1200, 2400),
    Model("small_resnet", {"stem_stride": 2, "strides": (2, 2, 2)}),
    replace(SHORT, epochs=16),
    "stamps",
)


def finished(runs: list[Run], out: Path, console: Console) -> list[store.Stored]:
    """The records of runs, in order, from disk, or trained now.

    Raises:
        RuntimeError: a run failed.
    """
    environment = Environment(out)
    failures = train_all(runs, [environment], console)
    if failures:
        label, message = failures[0]
        raise RuntimeError(f"{label} failed: {message}")
    stored = [run.stored(environment) for run in runs]
    return [run for run in stored if run is not None]

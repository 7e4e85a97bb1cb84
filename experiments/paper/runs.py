"""One run of the paper's experiments: prepare, train, judge, save."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from experiments import results
from experiments.concepts import GeneratedConcepts, drawn, open_concepts
from experiments.data.generated import Generated
from experiments.data.images import Images
from experiments.data.named import open_images
from experiments.paper import networks, store
from experiments.paper.explained import top_images, verdicts
from experiments.paper.frozen import frozen_heads
from experiments.paper.grids import CONCEPTS
from experiments.paper.judging import (
    class_f1,
    decision_numbers,
    head_numbers,
    read,
    unit_numbers,
)
from experiments.paper.labelling import Labeller, Some
from experiments.paper.methods import Method, method
from experiments.paper.pictured import decisions, inner_routes, named
from experiments.paper.planned import Planned
from experiments.paper.recipes import Recipe, recipe
from experiments.paper.watching import Watch
from experiments.train import randomness
from experiments.train.loop import Progress, Training
from interpretable_sgd import InterpretableSGD, analysis
from interpretable_sgd.analysis.concepts import ConceptImages

FROZEN = ("resnet18", "sgd")  # whose units sparse heads are fitted on
IN_MEMORY = 2**24  # pixels of labelled images up to which they are drawn once and kept


@dataclass(frozen=True)
class Place:
    """Where runs are trained, none of which decides what comes of them but the kind of device.

    Attributes:
        out: folder of results.
        sources: by name, the data that lies elsewhere, as `name:path`.
        device: to train on.
        workers: processes that read images.
    """

    out: Path
    sources: Mapping[str, str]
    device: str = "cpu"
    workers: int = 0

    def text(self, data: str) -> str:
        """How a grid's data set is opened here."""
        return self.sources.get(data.partition(":")[0], data) if ":" not in data else data

    def images(self, planned: Planned) -> Images:
        """The data of a run.

        Raises:
            ValueError: no such data; no images held out; see `open_images`.
        """
        images = _images(self.text(planned.data), planned.scale, planned.seed, self.out)
        if images.validation is None:
            raise ValueError("hold_out must be above 0, as choices and curves need images, got 0")
        return images

    def labeller(self, images: Images, split: str, count: int) -> Labeller | None:
        """Labels units by so many images of known concepts; None where there are none."""
        if CONCEPTS in self.sources:
            concepts: ConceptImages = Some(_labelled(self.sources[CONCEPTS], self.out), count)
        elif images.drawn is not None:
            concepts = _drawn(images.drawn, split, count)
        else:
            return None
        return Labeller(concepts, images.prepare, self.workers)


# what one run after another asks for again
@lru_cache(maxsize=2)
def _images(text: str, scale: str, seed: int, out: Path) -> Images:
    return open_images(text, scale="paper" if scale == "code" else scale, seed=seed, out=out)


@lru_cache(maxsize=1)
def _labelled(text: str, out: Path) -> ConceptImages:
    return open_concepts(text, out=out)


@lru_cache(maxsize=4)
def _drawn(source: Generated, split: str, count: int) -> ConceptImages:
    small = count * source.size**2 <= IN_MEMORY
    return drawn(source, split, count) if small else GeneratedConcepts(source, split, count)


class Prepared(NamedTuple):
    """A net before its first step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class Run:
    """A planned run with its data.

    Attributes:
        planned: what is wanted.
        place: where it is trained.
        images: its data.
    """

    planned: Planned
    place: Place
    images: Images

    @property
    def method(self) -> Method:
        """How it is trained."""
        return method(self.planned.method)

    @property
    def recipe(self) -> Recipe:
        """How long, and at which settings."""
        return self.method.adapt(recipe(self.planned.data, self.planned.scale))

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.recipe.epochs * (len(self.images.train) // self.recipe.batch)

    def prepare(self) -> Prepared:
        """The net with weights that are a function of the seed, and its optimizer."""
        planned, images, chosen = self.planned, self.images, self.recipe
        with randomness.isolated():
            randomness.seed(randomness.derived(planned.seed))
            model = networks.build(
                planned.network,
                images.classes,
                images.size,
                images.channels,
                chosen.share,
                chosen.blocks,
            )
        model.to(self.place.device)
        return Prepared(model, self.method.optimizer(model, chosen, self.steps, planned.seed))

    @cached_property
    def config(self) -> dict[str, Any]:
        """All that decides what comes of it."""
        chosen = dataclasses.asdict(self.recipe)
        del chosen["checkpoint_every"]
        optimizer = self.prepare().optimizer
        if isinstance(optimizer, InterpretableSGD):
            optimizer.detach()  # it waits for a forward pass that never comes
        options = optimizer.param_groups[0].items()
        return {
            **dataclasses.asdict(self.planned),
            "recipe": chosen,
            "optimizer": {name: value for name, value in options if _plain(value)},
            "images": self.images.identity,
            "classes": self.images.classes,
            "size": self.images.size,
            "concepts": self.place.sources.get(CONCEPTS, "of the images").partition(":")[0],
            "device": torch.device(self.place.device).type,
            "versions": results.versions(),
        }

    def stored(self) -> store.Stored | None:
        """What came of exactly this configuration, if it is finished."""
        return store.find(self.place.out, self.config)

    def train(self, report: Callable[[Progress], None] = lambda at: None) -> store.Stored:
        """Train from the newest checkpoint or from the start, judge, save.

        Raises:
            KeyboardInterrupt: somebody asked to stop; the checkpoint is where it goes on.
        """
        model, optimizer = self.prepare()
        training = Training(
            model,
            optimizer,
            self.images.train,
            self.recipe.plan(self.planned.seed),
            config=self.config,
            each_epoch=lambda net: watch(net, len(training.epochs) + 1),
            device=self.place.device,
            workers=self.place.workers,
        )
        watch = self._watch()
        folder = store.folder(self.place.out, self.config) / store.CHECKPOINTS
        with warnings.catch_warnings():
            # what the paper prints is trained as printed; that it can diverge is in docs/method.md
            warnings.filterwarnings("ignore", message="masks per sample")
            training.run(folder, report)
        record, arrays = self._judged(training.trained)
        record |= {
            "epochs": training.epochs,
            "steps": training.step,
            "seconds": training.seconds,
            "hardware": results.hardware(self.place.device),
        }
        return store.save(self.place.out, self.config, record, arrays, model.state_dict())

    def _watch(self) -> Watch:
        images, chosen, place = self.images, self.recipe, self.place
        return Watch(
            images.validation,
            images.plain,
            chosen.watched,
            place.labeller(images, "validation", chosen.watched),
            chosen.epochs,
            place.workers,
        )

    def _judged(self, model: nn.Module) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The record and the arrays of a trained net; test images are read here, once."""
        images, chosen, workers = self.images, self.recipe, self.place.workers
        validation, test = (read(model, x, workers) for x in (images.validation, images.test))
        labeller = self.place.labeller(images, "test", chosen.dissected)
        record = {
            **head_numbers(model),
            **decision_numbers(model, test),
            "validation_top1": validation.top1,
            "unit_labels": None,
            "n": {name: len(getattr(images, name)) for name in ("train", "validation", "test")},
        }
        arrays = decisions(model, images)
        arrays |= verdicts(model, arrays) | inner_routes(model, labeller)
        arrays |= top_images(model, images.validation, arrays)
        if labeller is not None:
            found = labeller.label(model, networks.UNITS)
            record["unit_labels"] = unit_numbers(found) | self._f1(arrays["weight"], found)
            arrays |= named(found, "unit_")
        arrays |= verdicts(model, arrays)
        arrays |= top_images(model, images.validation, arrays, workers)
        if (self.planned.network, self.planned.method) == FROZEN:
            record |= frozen_heads(model, images.plain, chosen.frozen, workers, validation, test)
        return record, arrays

    def _f1(self, weight: np.ndarray, found: analysis.Dissection) -> dict[str, float | None]:
        drawn = self.images.drawn
        if drawn is None or CONCEPTS in self.place.sources:
            return {"f1": None}
        return {"f1": class_f1(torch.from_numpy(weight), found, drawn.composition)}


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))

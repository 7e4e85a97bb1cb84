"""One run of the paper's experiments: prepare, train, judge, save."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import nn

from experiments import results, rng
from experiments.datasets.dataset import Images
from experiments.evaluation.callbacks import Watch
from experiments.evaluation.frozen import STRENGTHS
from experiments.evaluation.verdict import Arrays, Record, judged
from experiments.models import resnets
from experiments.paper import store
from experiments.paper.methods import Method, method
from experiments.paper.place import Place, required
from experiments.paper.planned import DENSE, Planned
from experiments.paper.recipes import Recipe, recipe
from experiments.training.loop import Progress, Training
from interpretable_sgd import InterpretableSGD


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
        with rng.isolated():
            rng.seed(rng.derived(planned.seed))
            model = resnets.build(
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
            "sparse_heads": list(STRENGTHS) if self._frozen else [],
            "concepts": "of the images" if self.place.concepts is None else "broden",
            "device": torch.device(self.place.device).type,
            "versions": results.versions(),
        }

    def stored(self) -> store.Stored | None:
        """What came of exactly this configuration, if it is finished."""
        return self.place.ranks.first_does(lambda: store.find(self.place.out, self.config))

    def train(self, report: Callable[[Progress], None] = lambda at: None) -> store.Stored:
        """Train from the newest checkpoint or from the start, judge, save.

        Raises:
            KeyboardInterrupt: somebody asked to stop; the checkpoint is where it goes on.
        """
        model, optimizer = self.prepare()
        ranks, watch = self.place.ranks, self._watch()
        training = Training(
            model,
            optimizer,
            self.images.train,
            self.recipe.plan(self.planned.seed),
            config=self.config,
            each_epoch=lambda net: ranks.first_does(lambda: watch(net, len(training.epochs) + 1)),
            device=self.place.device,
            workers=self.place.workers,
            ranks=ranks,
        )
        folder = store.folder(self.place.out, self.config) / store.CHECKPOINTS
        with warnings.catch_warnings():
            # what the paper prints is trained as printed; that it can diverge is in docs/method.md
            warnings.filterwarnings("ignore", message="masks per sample")
            training.run(folder, report)
        return ranks.first_does(lambda: self._finished(training))

    def _finished(self, training: Training) -> store.Stored:
        """Judge and save; where several ranks have trained, the first alone does."""
        record, arrays = self._judged(training.trained)
        record |= {
            "epochs": training.epochs,
            "steps": training.step,
            "seconds": training.seconds,
            "hardware": {
                **results.hardware(self.place.device),
                "ranks": self.place.ranks.count,
            },
        }
        weights = training.trained.state_dict()
        return store.save(self.place.out, self.config, record, arrays, weights)

    @property
    def _frozen(self) -> bool:
        return (self.planned.network, self.planned.method) == DENSE

    def _watch(self) -> Watch:
        images, chosen, place = self.images, self.recipe, self.place
        return Watch(
            required(images.validation),
            images.plain,
            chosen.watched,
            place.labeller(images, self.planned.scale, "validation", chosen.watched),
            chosen.epochs,
            place.workers,
        )

    def _judged(self, model: nn.Module) -> tuple[Record, Arrays]:
        images, chosen, place = self.images, self.recipe, self.place
        drawn = images.drawn if place.concepts is None else None
        return judged(
            model,
            images,
            place.labeller(images, self.planned.scale, "test", chosen.dissected),
            None if drawn is None else drawn.composition,
            chosen.frozen if self._frozen else 0,
            place.workers,
        )


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))

"""One run of the demo: a net, its optimizer, the training, and all that is recorded of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from experiments import results
from experiments.contestants import contestants
from experiments.datasets.concepts import drawn
from experiments.datasets.synthetic.base import Generated
from experiments.evaluation.metrics import evaluate, explain, read
from experiments.evaluation.sparse_heads import sparse_heads
from experiments.evaluation.watching import Watch
from experiments.models.classifiers import Classifier, build
from experiments.problems import Problem
from experiments.training.in_memory import train
from interpretable_sgd import analysis

EXPLAINED = 6  # test images, from the first, whose unit maps are stored for the figure
WATCHED_IMAGES = 150  # validation images with masks, to compare units with while they form
FROZEN = "SGD"  # whose units sparse heads are fitted on


class Prepared(NamedTuple):
    """A run before its first step; `config` decides the result."""

    model: Classifier
    optimizer: torch.optim.Optimizer
    config: dict[str, Any]


class Job(NamedTuple):
    """One training run."""

    problem: Problem
    seed: int
    optimizer: str
    device: str
    options: Mapping[str, Any] = MappingProxyType({})  # of InterpretableSGD, beside its defaults

    @property
    def steps(self) -> int:
        """Of the whole training."""
        problem = self.problem
        images = problem.sizes[0] if problem.sizes else len(problem.load(self.seed)["train"][1])
        return problem.epochs * (images // problem.batch)

    def prepare(self) -> Prepared:
        """The net with its initial weights, the optimizer, and the configuration."""
        problem, seed = self.problem, self.seed
        source = problem.source(seed)
        model = build(problem.architecture, source.channels, source.classes, seed).to(self.device)
        optimizer = contestants(self.options)[self.optimizer](model, problem.lr, seed)
        chosen = {k: v for k, v in optimizer.param_groups[0].items() if _plain(v)}
        config = {
            "data": problem.name,
            "source": dataclasses.asdict(source),
            "net": problem.architecture.__name__,
            "sizes": problem.sizes and list(problem.sizes),
            "epochs": problem.epochs,
            "batch": problem.batch,
            "schedule": "cosine",
            "optimizer": {**chosen, "name": self.optimizer},
            "seed": seed,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "versions": results.versions(),
        }
        return Prepared(model, optimizer, config)

    def run(self, prepared: Prepared, out: Path, tell: Callable[[float], None]) -> results.Record:
        """Train, evaluate, store; `tell` is told the loss after each step."""
        model, optimizer, config = prepared
        problem, seed = self.problem, self.seed
        data = {
            split: (images.to(self.device), labels.to(self.device))
            for split, (images, labels) in problem.load(seed).items()
        }
        source = problem.source(seed)
        concepts = None
        if isinstance(source, Generated):
            shown = min(WATCHED_IMAGES, len(data["validation"][1]))
            concepts = drawn(source, "validation", shown)
        watch = Watch(model, data["validation"], concepts, problem.epochs)
        empty: list[float] = []

        def report(loss: float) -> None:
            empty.append(analysis.sparsity(model.fc.weight.detach()))
            tell(loss)

        history = train(
            model,
            optimizer,
            *data["train"],
            epochs=problem.epochs,
            batch=problem.batch,
            seed=seed,
            report=report,
            look=watch.look,
        )
        record = {
            "data": problem.name,
            "optimizer": self.optimizer,
            "seed": seed,
            "n": {split: len(labels) for split, (_, labels) in data.items()},
            "steps": len(history.losses),
            "seconds": history.seconds,
            "measuring_seconds": history.measuring_seconds,
            "hardware": results.hardware(self.device),
            "history": {
                "losses": history.losses,
                "gradient_steps": history.gradient_steps,
                "gradients": history.gradients,
                "sparsity": empty,
                "validation_accuracy": watch.accuracy,
                "iou_epochs": watch.iou_epochs,
                "mean_iou": watch.mean_iou,
            },
            **evaluate(model, data["validation"], data["test"]),
        }
        if self.optimizer == FROZEN:
            head = analysis.find_head(model)
            units = {split: (read(model, head, x)[0], y) for split, (x, y) in data.items()}
            record["sparse_heads"] = sparse_heads(**units)
        arrays = explain(model, data["test"][0][:EXPLAINED])
        arrays |= problem.named(seed, EXPLAINED)
        return results.store(out, config, record, arrays, model.state_dict())


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))

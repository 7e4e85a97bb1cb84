"""One run of a question: train, measure, store; a run that is stored is not trained again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments import results
from experiments.evaluation import sparse_heads
from experiments.evaluation.concept_units import measure
from experiments.evaluation.measures import test_accuracy
from experiments.evaluation.metrics import mean_residual, read
from experiments.models.classifiers import Classifier, build
from experiments.problems import Problem
from experiments.research.methods import Method, begin
from experiments.training.in_memory import train
from interpretable_sgd import analysis

CONCEPT_IMAGES = 1000
MANY = 128  # units beyond which the L1 path is fitted by gradients
COUNT = 5  # weights that a head cut afterwards has for each class
CUT = f"cut to {COUNT}, refitted"
CUTS = (1, 2, 3, 4, 5, 6, 8, 10, 16, 32, 64)
Split = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        problem: data, net and length.
        method: how it is trained.
        seed: of the data, the weights, the batches and the masks.
        judge: "test", or "validation" for runs that a choice may look at; these never draw test images.
        strengths: of the L1 penalty of heads fitted afterwards; none are fitted without.
    """

    problem: Problem
    method: Method
    seed: int
    judge: str = "test"
    strengths: tuple[float, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        """All that decides the result."""
        problem = self.problem
        return {
            "data": problem.name,
            "source": dataclasses.asdict(problem.source(self.seed)),
            "net": _named(problem.architecture),
            "sizes": list(problem.sizes or ()),
            "epochs": problem.epochs,
            "batch": problem.batch,
            "lr": problem.lr,
            "schedule": "cosine",
            "optimizer": _row(self.method),
            "seed": self.seed,
            "judge": self.judge,
            "strengths": list(self.strengths),
            "concept_images": CONCEPT_IMAGES,
            "memory_format": "channels_last",
            "threads": torch.get_num_threads(),
            "versions": results.versions(),
        }


def finished(
    run: Run, out: Path, tell: Callable[[str], None] = lambda text: None
) -> results.Record:
    """The record of a run, from disk, or trained now."""
    config = run.config
    record = results.stored(out, config)
    if record is None:
        record = _train(run, config, out)
        tell(
            f"{config['data']} {run.method.name} seed {run.seed}: {record['accuracy']:.1%} "
            f"{run.judge}, {record['weights_per_class']:.1f} weights, {record['seconds']:.0f} s"
        )
    return record


def _train(run: Run, config: dict[str, Any], out: Path) -> results.Record:
    problem, seed = run.problem, run.seed
    source = problem.source(seed)
    data = _images(problem, seed, run.judge)
    images, labels = data["train"]
    model = build(problem.architecture, source.channels, source.classes, seed)
    model = model.to(memory_format=torch.channels_last)
    steps = problem.epochs * (len(labels) // problem.batch)
    optimizer, after = begin(run.method, model, problem.lr, seed, steps)
    history = train(
        model,
        optimizer,
        images,
        labels,
        epochs=problem.epochs,
        batch=problem.batch,
        seed=seed,
        share=0,
        report=lambda loss: after(),
    )
    weight = model.fc.weight.detach()
    record = {
        "method": run.method.name,
        "seed": seed,
        "n": {split: len(y) for split, (_, y) in data.items()},
        "steps": steps,
        "seconds": history.seconds,
        "hardware": results.hardware("cpu"),
        "final_loss": sum(history.losses[-20:]) / 20,
        **_accuracies(model, data, run.judge),
        "unit_figures": measure(
            model, weight, source, run.judge, min(CONCEPT_IMAGES, len(data[run.judge][1]))
        ),
    }
    if run.strengths:
        record["sparse_heads"] = _sparse_heads(run, model, data)
    return results.store(out, config, record, {}, model.state_dict())


def _accuracies(model: Classifier, data: dict[str, Split], judge: str) -> dict[str, Any]:
    head = analysis.find_head(model)
    units, logits = read(model, head, data[judge][0])
    _, held_out = read(model, head, data["validation"][0])
    weight = head.weight
    cuts = [count for count in CUTS if count <= weight.shape[1]]
    labels = data[judge][1]
    return {
        "accuracy": test_accuracy(logits, labels),
        "validation_accuracy": test_accuracy(held_out, data["validation"][1]),
        "weights_per_class": float(analysis.weights_per_class(weight).double().mean()),
        "residual_at_5": mean_residual(head.parts(units, logits.argmax(1)), 5),
        "cuts": dict(
            zip(
                map(str, cuts),
                analysis.accuracy_at(weight, head.bias, units, labels, cuts, per_class=True),
                strict=True,
            )
        ),
    }


def _sparse_heads(run: Run, model: Classifier, data: dict[str, Split]) -> list[dict[str, Any]]:
    """Heads fitted on the frozen units: an L1 path, its points cut to 5 weights a class, the trained head so cut."""
    head = analysis.find_head(model)
    units = {split: (read(model, head, x)[0], y) for split, (x, y) in data.items()}
    # saga is far from its optimum after the same work where units and classes are many
    many = head.weight.shape[1] > MANY
    path = partial(
        sparse_heads.l1_path_by_gradients if many else sparse_heads.l1_path, strengths=run.strengths
    )
    fitted = sparse_heads.heads_on_path(units["train"], units["validation"], path, (None, COUNT))
    names = [f"L1 {s:g}{suffix}" for suffix in ("", f", {CUT}") for s in run.strengths]
    heads = [(name, *found) for name, found in zip(names, fitted, strict=True)]
    cut = analysis.pruned(head.weight, COUNT, per_class=True)
    heads.append((CUT, *sparse_heads.refitted(cut, head.bias, *units["train"])))
    n = min(CONCEPT_IMAGES, len(units[run.judge][1]))

    def accuracy(weight: Tensor, bias: Tensor, split: str) -> float:
        x, y = units[split]
        return test_accuracy(x @ weight.T + bias, y)

    return [
        {
            "name": name,
            "weights": float(analysis.weights_per_class(weight).double().mean()),
            "accuracy": accuracy(weight, bias, run.judge),
            "validation_accuracy": accuracy(weight, bias, "validation"),
            "unit_figures": measure(model, weight, run.problem.source(run.seed), run.judge, n),
        }
        for name, weight, bias in heads
    ]


def _row(method: Method) -> dict[str, Any]:
    """What is set, in JSON's types, so that a stored row equals a new one."""
    row = dataclasses.asdict(method)
    row["narrowing"] = method.narrowing and list(method.narrowing)
    return {name: value for name, value in row.items() if name != "inner" or value}


@cache
def _drawn(problem: Problem, seed: int, split: str) -> Split:
    count = dict(zip(("train", "validation", "test"), problem.sizes or (), strict=True))[split]
    images, labels = problem.source(seed).tensors(split, count)
    return images.contiguous(memory_format=torch.channels_last), labels


def _images(problem: Problem, seed: int, judge: str) -> dict[str, Split]:
    return {
        split: _drawn(problem, seed, split)
        for split in dict.fromkeys(("train", "validation", judge))
    }


def _named(architecture: Callable[..., Classifier]) -> str:
    """The function and the arguments that are set already."""
    inner = getattr(architecture, "func", architecture)
    given = getattr(architecture, "keywords", {})
    listed = ", ".join(f"{name}={value}" for name, value in sorted(given.items()))
    return f"{inner.__name__}({listed})"


def all_of(
    runs: Sequence[Run], out: Path, tell: Callable[[str], None] = print
) -> list[results.Record]:
    """The records of runs, in order."""
    return [finished(run, out, tell) for run in runs]


def write_lines(path: Path, runs: Sequence[results.Record]) -> None:
    """A JSON list with one run to a line, which is small and shows changes."""
    lines = ",\n".join(results.canonical(run) for run in runs)
    path.write_text(f"[\n{lines}\n]\n")

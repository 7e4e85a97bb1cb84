"""Trained nets read: a report for each data set, of the first seed's net, beside the others' accuracy."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from experiments import results
from experiments.datasets.concepts import drawn
from experiments.datasets.synthetic.base import Generated
from experiments.models.classifiers import build
from experiments.problems import PROBLEMS, Problem
from interpretable_sgd import analysis, report

READ = "InterpretableSGD"
CONCEPT_IMAGES = 1000  # validation images with exact masks, to name units by
BATCH = 250
Curve = tuple[list[float], list[float]]
SMOOTHED = 10  # steps that a point of the loss curve is the mean of


def write_reports(out: Path, records: Sequence[results.Record], scale: float = 1.0) -> list[Path]:
    """One page per data set, `report-DATA.html`, with its numbers as `report-DATA.json`."""
    paths = []
    for data in dict.fromkeys(record["data"] for record in records):
        runs = [record for record in records if record["data"] == data]
        read = [record for record in runs if record["optimizer"] == READ]
        if read:
            found = study(out, read[0], runs, PROBLEMS[data].scaled(scale))
            found.to_json(out / f"report-{data}.json")
            paths.append(report.write(found, out / f"report-{data}.html"))
    return paths


def study(
    out: Path, record: results.Record, runs: Sequence[results.Record], problem: Problem
) -> analysis.Study:
    """One net on its test images; its concepts are those of the data, where it has any."""
    seed = record["seed"]
    source = problem.source(seed)
    model = build(problem.architecture, source.channels, source.classes, seed)
    model.load_state_dict(results.weights(out, record))
    images, labels = problem.load(seed)["test"]
    concepts, truth = None, None
    if isinstance(source, Generated):
        shown = CONCEPT_IMAGES if problem.sizes is None else min(CONCEPT_IMAGES, problem.sizes[1])
        concepts, truth = drawn(source, "validation", shown), source.composition
    last = model.maps[-1]
    return analysis.study(
        model,
        list(zip(images.split(BATCH), labels.split(BATCH), strict=True)),
        class_names=source.class_names,
        concepts=concepts,
        truth=truth,
        below=last.conv2 if isinstance(last, BasicBlock) else None,
        layer_below=last.bn1 if isinstance(last, BasicBlock) else None,
        compared=compared(runs),
        training=curves(runs),
        training_axis="epoch",
        augment=one_pixel,
        name=f"{problem.name}, {record['optimizer']}",
        config=record["config"],
        seed=seed,
    )


def compared(runs: Sequence[results.Record]) -> list[analysis.Compared]:
    """Each other optimizer's mean over its seeds, its first net cut, and sparse heads on its units."""
    found, fitted = [], []
    for name in dict.fromkeys(run["optimizer"] for run in runs):
        own = [run for run in runs if run["optimizer"] == name]
        accuracies = [run["test_accuracy"] for run in own]
        error = statistics.stdev(accuracies) / len(own) ** 0.5 if len(own) > 1 else None
        weights = statistics.mean(run["weights_per_class"] for run in own)
        several = len(own) > 1 and name == READ
        # the net that is read is there already, as "this model"
        if name != READ or several:
            called = f"{name}, {len(own)} seeds" if several else name
            mean = statistics.mean(accuracies)
            found.append(analysis.Compared(called, weights, mean, len(own), error))
        if name != READ:
            found += _points(f"{name}, cut", own[0]["accuracy_at_weights"])
        if "sparse_heads" in own[0]:
            fitted += _points(f"sparse heads on the units of {name}", own[0]["sparse_heads"])
    return found + fitted


def _points(name: str, curve: Mapping[str, Sequence[float]]) -> list[analysis.Compared]:
    pairs = zip(curve["weights"], curve["accuracy"], strict=True)
    return [analysis.Compared(name, weights, accuracy) for weights, accuracy in pairs]


def curves(runs: Sequence[results.Record]) -> dict[str, Curve]:
    """By epoch, the first net of each optimizer, the one that is read before the others."""
    nets: dict[str, dict[str, Curve]] = {}
    for run in runs:
        nets.setdefault(run["optimizer"], measured(run))
    names = sorted(nets, key=lambda name: name != READ)
    return {f"{what}: {n}": nets[n][what] for what in nets[READ] for n in names}


def measured(run: results.Record) -> dict[str, Curve]:
    """Accuracy, emptiness of the head, loss, and IoU where the data have concepts."""
    history, epochs = run["history"], run["config"]["epochs"]
    step = epochs / run["steps"]
    losses = np.array(history["losses"])
    window = min(SMOOTHED, len(losses))
    whole = len(losses) - len(losses) % window
    means = losses[:whole].reshape(-1, window).mean(1)
    found: dict[str, Curve] = {
        "validation accuracy": (list(range(epochs + 1)), history["validation_accuracy"]),
        "share of |w| < 0.001": _by_epoch(history["sparsity"], step),
        "loss": _by_epoch(means.tolist(), window * step),
    }
    if history["mean_iou"]:
        found["mean IoU of units"] = (history["iou_epochs"], history["mean_iou"])
    return found


def _by_epoch(values: list[float], step: float) -> Curve:
    """A value after each of equal steps, in epochs."""
    return [step * (n + 1) for n in range(len(values))], values


def one_pixel(images: Tensor) -> Tensor:
    """Moved right by a pixel, the edge repeated."""
    return nn.functional.pad(images[..., :-1], (1, 0, 0, 0), mode="replicate")

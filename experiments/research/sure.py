"""What a reader gains beside a formula, and what it costs: prediction sets, words for units, a pool, votes.

    python -m experiments sure [--seeds 10 11 12] [--data digits scenes fashion] [--pools 32] [--out runs/sure]

Every run is judged on test images once. Sets are calibrated on half of the validation and test images together
and tried on the other half, in 100 random halves. What was found: docs/results/sure.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from experiments.datasets.concepts import concept_arrays
from experiments.datasets.dataset import LabelledData
from experiments.evaluation.metrics import Outputs, accuracy, read
from experiments.methods import DENSE, OURS, Method, changed
from experiments.models.registry import Model, units_of
from experiments.recipes import Recipe
from experiments.research.problems import finished
from experiments.run import Environment, Protocol, Run
from experiments.store import write_lines
from interpretable_sgd import analysis

SEEDS = (10, 11, 12)
HALVES = 100
PENALTIES, COVERAGES = (0.0, 0.1), (0.9, 0.95)
DISSECTED = 600  # test images
WARM_UP = 0.15  # of the learning rate, of every method


@dataclass(frozen=True)
class Problem:
    """A data set, a network, and a run of under a minute on one core."""

    data: str
    model: Model
    recipe: Recipe

    def run(self, method: Method, seed: int) -> Run:
        """One training."""
        recipe = replace(self.recipe, warmup=WARM_UP, channels_last=True)
        return Run(self.data, self.model, method, recipe, Protocol(watched=1), "sure", seed)


PROBLEMS = {
    "digits": Problem("digits", Model("digits_resnet"), Recipe(epochs=15, batch=64, lr=0.2)),
    "scenes": Problem(
        "scenes:size=24,classes=16,concepts=12,train=2500,validation=1500,test=1500",
        Model("small_resnet"),
        Recipe(epochs=6, batch=64, lr=0.2),
    ),
    "fashion": Problem(
        "fashion", Model("small_resnet", {"strides": (2, 2, 2)}), Recipe(epochs=1, batch=128)
    ),
}


class Sets(NamedTuple):
    """Mean over random halves, and standard deviation of the first."""

    held: float
    spread: float
    size: float


def sets(outputs: Outputs, coverage: float, penalty: float) -> Sets:
    """How often prediction sets hold the true class, and how large they are."""
    probabilities, labels = outputs.logits.double().softmax(1), outputs.labels
    n, held, sizes = len(labels), [], []
    for seed in range(HALVES):
        generator = torch.Generator().manual_seed(seed)
        first, second = torch.randperm(n, generator=generator).tensor_split(2)
        noise = torch.rand(n, generator=generator, dtype=torch.float64)
        rule = analysis.calibrated(
            probabilities[first], labels[first], coverage, noise[first], penalty=penalty
        )
        found = rule.sets(probabilities[second], noise[second])
        held.append(found.gather(1, labels[second, None]).double().mean())
        sizes.append(found.sum(1).double().mean())
    shares = torch.stack(held)
    return Sets(float(shares.mean()), float(shares.std()), float(torch.stack(sizes).mean()))


def words(model: nn.Module, data: LabelledData) -> dict[str, Any]:
    """Units whose masks and whose embeddings, made of what is in each image, both say something; who agree."""
    source = data.source
    assert source is not None
    quantile = float(source.masks("test", DISSECTED).double().mean((0, 2, 3)).mean())
    layer, concepts = units_of(model), concept_arrays(source, "test", DISSECTED)
    masks = analysis.dissect(model, layer, concepts, quantile=quantile)
    shown = source.shown("test", DISSECTED).float()
    with torch.no_grad():
        maps = torch.cat([layer(part) for part in source.tensors("test", DISSECTED)[0].split(100)])
    embeddings = shown, torch.eye(shown.shape[1])
    named, mean = (
        analysis.name_units(units, *embeddings, source.concept_names)
        for units in (maps, maps.mean((2, 3)))
    )
    sure = masks.detectors() & masks.significant()
    reads = analysis.class_concepts(
        analysis.find_head(model).weight, masks.label.clamp(min=0), sure, shown.shape[1]
    )
    return {
        "f1": float(analysis.agreement(reads, source.composition).f1.mean()),
        "units": int((sure & named.significant()).sum()),
        "agree": int((sure & named.significant() & (masks.label == named.label)).sum()),
        "agree of means": int((sure & mean.significant() & (masks.label == mean.label)).sum()),
    }


def measured(model: nn.Module, data: LabelledData) -> dict[str, Any]:
    """All numbers of a trained network."""
    validation, test = (read(model, data.split(name)) for name in ("validation", "test"))
    both = Outputs(*map(torch.cat, zip(validation, test, strict=True)))
    head = analysis.find_head(model)
    used = (head.weight.abs() >= 1e-3).any(0)
    parts = head.parts(both.units, both.logits.argmax(1))
    votes: Tensor = test.units @ analysis.snapped(head.weight).T + head.bias
    return {
        "accuracy": test.accuracy(),
        "accuracy of votes": accuracy(votes, test.labels),
        "weights": float(analysis.weights_per_class(head.weight).double().mean()),
        "pool": int(used.sum()),
        "contrastiveness": analysis.contrastiveness(test.units[:, used]),
        "images": len(both.labels),
        "abstentions": float((parts == 0).all(1).double().mean()),
        "sets": {
            f"{'RAPS' if penalty else 'APS'} {coverage}": sets(both, coverage, penalty)._asdict()
            for penalty in PENALTIES
            for coverage in COVERAGES
        },
        **({} if data.source is None else words(model, data)),
    }


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments sure", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--data", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--pools", type=int, nargs="*", default=[32], help="of the scenes")
    parser.add_argument("--out", type=Path, default=Path("runs/sure"))
    args = parser.parse_args(argv)
    console, environment = Console(width=160), Environment(args.out)
    torch.set_num_threads(1)
    rows = []
    for name in args.data:
        pools = [changed(OURS, pool=size) for size in args.pools if name == "scenes"]
        for seed in args.seeds:
            for method in (DENSE, OURS, *pools):
                run = PROBLEMS[name].run(method, seed)
                (stored,) = finished([run], args.out, console)
                data = environment.data(run)
                model = run.model.build(data.shape, data.classes).eval()
                model.load_state_dict(stored.weights())
                row = {"data": name, "method": method.name, "seed": seed, **measured(model, data)}
                rows.append({**row, "hash": stored["hash"]})
                write_lines(args.out / "sure.json", rows)
    console.print(summary(rows))
    return 0


def summary(rows: Sequence[dict[str, Any]]) -> Table:
    """A line for each run."""
    columns = ["data", "method", "seed", "accuracy", "accuracy of votes", "weights", "pool"]
    columns += ["contrastiveness", "abstentions", "f1", "units", "agree", "agree of means"]
    kinds = list(rows[0]["sets"])
    found = Table(*columns, *kinds)
    for row in rows:
        said = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in map(row.get, columns)]
        shown = [f"{row['sets'][k]['held']:.1%}, {row['sets'][k]['size']:.3f}" for k in kinds]
        found.add_row(*said, *shown)
    return found

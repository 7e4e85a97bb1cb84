"""Figure 2's toy: a network whose units are known, trained three ways; what each class has learned.

    python -m experiments toy [--out runs/toy] [--seeds 3]

A picture is a sum of noisy templates of six things; a class is a pair of them ("a laptop is a
keyboard and a screen"), every such thing belongs to two classes, and any other thing may be in the
picture too. The hidden units are detectors of the templates and stay so: every weight of the head
can be read. Writes toy.json and draws fig2 from it.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.figures.fig2 import fig2
from experiments.methods import DENSE, OURS, dynamic
from experiments.recipes import Recipe
from interpretable_sgd import analysis

CONCEPTS = ("keyboard", "screen", "remote control", "speaker", "table", "window")
CLASSES = {
    "laptop": ("keyboard", "screen"),
    "television": ("remote control", "screen"),
    "stereo": ("remote control", "speaker"),
    "synthesizer": ("keyboard", "speaker"),
}
K = 2  # concepts of a class
PIXELS = 36
NOISE = 0.3
DISTRACTOR = 0.25  # chance of each thing that is not of the class
SAMPLES, BATCH, EPOCHS, LR = 4096, 64, 30, 0.05
STEPS = EPOCHS * SAMPLES // BATCH


def pictures(samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures [n, pixels], labels [n] and the templates [concept, pixels] they are made of."""
    templates = torch.linalg.qr(
        torch.randn(PIXELS, len(CONCEPTS), generator=torch.Generator().manual_seed(0))
    ).Q.T
    parts = torch.zeros(len(CLASSES), len(CONCEPTS))
    for row, concepts in zip(parts, CLASSES.values(), strict=True):
        row[[CONCEPTS.index(c) for c in concepts]] = 1
    labels = torch.randint(len(CLASSES), (samples,), generator=generator)
    present = parts[labels]
    others = torch.rand(present.shape, generator=generator) < DISTRACTOR
    strength = 0.5 + torch.rand(present.shape, generator=generator)
    # a distractor is smaller than what the picture shows
    amounts = strength * torch.where(present > 0, 1.0, 0.5 * others)
    noise = NOISE * torch.randn(samples, PIXELS, generator=generator) / PIXELS**0.5
    return amounts @ templates + noise, labels, templates


def network(templates: Tensor) -> nn.Sequential:
    """Pixels -> one unit per concept -> classes; only the last layer learns.

    Its weights start positive: a Dynamic-K layer sends no gradient to a product below zero, and
    with six units, unlike with hundreds, a class may have none above.
    """
    detectors = nn.Linear(PIXELS, len(CONCEPTS), bias=False).requires_grad_(False)
    detectors.weight.data.copy_(templates)
    head = nn.Linear(len(CONCEPTS), len(CLASSES))
    head.weight.data.abs_()
    return nn.Sequential(detectors, nn.ReLU(), head)


TRAININGS = {
    "dense layer": DENSE,
    f"Dynamic-{K} layer": dynamic(K),
    "InterpretableSGD": replace(
        OURS, options={"block_size": K, "form": STEPS // 5, "settle": 2 * STEPS // 5}
    ),
}


def train(training: str, seed: int) -> dict[str, Any]:
    """Train one way; returns test accuracy, weights [class][concept] and bias [class]."""
    generator = torch.Generator().manual_seed(seed)
    x, labels, templates = pictures(SAMPLES, generator)
    torch.manual_seed(seed)
    model = network(templates)
    method = TRAININGS[training]
    recipe = Recipe(EPOCHS, BATCH, LR, schedule="constant", weight_decay=1e-3)
    optimizer = method.build(method.prepared(model), recipe, seed)
    for _ in range(EPOCHS):
        for rows in torch.randperm(SAMPLES, generator=generator).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), labels[rows]).backward()
            optimizer.step()
    test_x, test_labels, _ = pictures(SAMPLES, generator)
    with torch.no_grad():
        correct = model(test_x).argmax(1) == test_labels
    head = analysis.find_head(model)
    return {
        "training": training,
        "seed": seed,
        "accuracy": correct.float().mean().item(),
        "weight": head.weight.tolist(),
        "bias": head.bias.tolist(),
        "formulas": [formula(weights) for weights in head.weight.tolist()],
    }


def formula(weights: Sequence[float], threshold: float = 0.05) -> str:
    """A class as text: the concepts whose weight exceeds a share of the largest, largest first.

    >>> formula([2.0, 1.5, -0.5, 0.0, 0.01, 0.0])
    '2.0 keyboard + 1.5 screen - 0.5 remote control'
    """
    floor = threshold * max(abs(w) for w in weights)
    terms = [(w, c) for w, c in zip(weights, CONCEPTS, strict=True) if abs(w) > floor]
    terms.sort(key=lambda term: -abs(term[0]))
    text = " ".join(f"{'-' if w < 0 else '+'} {abs(w):.1f} {concept}" for w, concept in terms)
    return text.removeprefix("+ ")


def recovered(weight: Sequence[Sequence[float]]) -> int:
    """How many classes are positive in their own concepts, and below a tenth of that elsewhere."""
    count = 0
    for weights, concepts in zip(weight, CLASSES.values(), strict=True):
        own = [w for w, c in zip(weights, CONCEPTS, strict=True) if c in concepts]
        rest = [abs(w) for w, c in zip(weights, CONCEPTS, strict=True) if c not in concepts]
        count += min(own) > 0 and max(rest) < 0.1 * min(own)
    return count


def main(argv: Sequence[str]) -> int:
    """Train, print the formulas, store and draw them."""
    parser = argparse.ArgumentParser(prog="experiments toy", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/toy"))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    records = [train(name, seed) for name in TRAININGS for seed in range(args.seeds)]
    semantics = {"concepts": CONCEPTS, "classes": CLASSES, "k": K}
    stored = args.out / "toy.json"
    stored.write_text(json.dumps({**semantics, "records": records}, indent=1) + "\n")
    for name in TRAININGS:
        runs = [r for r in records if r["training"] == name]
        accuracy = sum(r["accuracy"] for r in runs) / len(runs)
        exact = sum(recovered(r["weight"]) for r in runs)
        print(
            f"\n{name}: test accuracy {accuracy:.3f} ({len(runs)} seeds), "
            f"{exact} of {len(runs) * len(CLASSES)} formulas are the definition"
        )
        for klass, text in zip(CLASSES, runs[0]["formulas"], strict=True):
            print(f"  {klass:11} = {text}")
    print(f"\n{stored}", *fig2((), args.out), sep="\n")
    return 0

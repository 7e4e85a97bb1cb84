"""Train the net of `interpretable-sgd example`, and write it with its pictures into the package.

    python -m experiments example [--out FOLDER]

Ten places: 2,000 drawings to train on (seed 0), 300 to look at on the way (seed 1); the package ships 200
others to decide on and 200 to name units by (seed 2). Half a minute on one core.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from experiments.example.drawings import PLACES, THINGS, Drawn, drawn
from interpretable_sgd import InterpretableSGD, analysis
from interpretable_sgd.report import example

UNITS, STEPS, BATCH, WARM = 48, 400, 64, 20
OPTIONS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
TRAIN, VALIDATION, SHIPPED = 2000, 300, 400
ROW = 20  # pictures of a row in a file
EVERY = 40  # steps between points of the training curves
PACKAGE = Path(__file__).parents[2] / "interpretable_sgd/report/example"
Curves = dict[str, list[list[float]]]


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments example", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=PACKAGE, help="folder (default: the package's)")
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args(argv)
    train, validation, shipped = (
        drawn(count, np.random.default_rng(seed))
        for seed, count in enumerate((TRAIN, VALIDATION, SHIPPED))
    )
    model, curves = fit(_data(train), _data(validation), args.steps)
    args.out.mkdir(parents=True, exist_ok=True)
    shown = SHIPPED // 2
    _sheet(shipped.images).save(args.out / "pictures.webp", quality=90, method=6)
    _sheet(shipped.things[shown:]).save(args.out / "masks.png", optimize=True)
    halves = {
        name: value.half() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    (args.out / "weights.safetensors").write_bytes(save(halves))
    facts = {
        "units": UNITS,
        "places": PLACES,
        "things": list(THINGS),
        "training": curves,
        "config": {
            "command": "python -m experiments example",
            "images": "200 drawings that come with the package",
            "optimizer": f"InterpretableSGD({', '.join(f'{k}={v}' for k, v in OPTIONS.items())})",
            "schedule": f"{args.steps} steps of {BATCH}, {WARM} of warm-up, then a cosine",
            "training images": TRAIN,
            "seeds": "drawings 0, weights and batches 0",
            "trained on": f"one CPU core, torch {torch.__version__}, Python {platform.python_version()}",
        },
    }
    (args.out / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    for path in sorted(args.out.glob("*.*")):
        print(f"{path.name} {path.stat().st_size:,} bytes")
    return 0


def fit(
    train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], steps: int
) -> tuple[nn.Module, Curves]:
    """A trained net, and its curves."""
    torch.manual_seed(0)
    model = example.network(UNITS, len(PLACES))
    optimizer = InterpretableSGD(model.parameters(), **OPTIONS)
    schedule = SequentialLR(
        optimizer,
        [LinearLR(optimizer, 0.1, 1.0, WARM), CosineAnnealingLR(optimizer, steps - WARM)],
        [WARM],
    )
    batches = torch.Generator().manual_seed(0)
    curves: Curves = {"validation accuracy": [[], []], "weights a class": [[], []]}
    for step in range(1, steps + 1):
        batch = torch.randint(len(train[0]), (BATCH,), generator=batches)
        optimizer.zero_grad()
        cross_entropy(model(train[0][batch]), train[1][batch]).backward()
        optimizer.step()
        schedule.step()
        if step % EVERY == 0 or step == steps:
            decisions = analysis.decide(model, [validation])
            weights = analysis.weights_per_class(decisions.weight).double().mean()
            for name, value in (
                ("validation accuracy", decisions.accuracy),
                ("weights a class", float(weights)),
            ):
                curves[name][0].append(step)
                curves[name][1].append(round(value, 4))
            print(
                f"{step}: {decisions.accuracy:.1%}, {weights:.1f} weights a class",
                flush=True,
            )
    return model, curves


def _data(part: Drawn) -> tuple[Tensor, Tensor]:
    """Inputs of the net, and labels."""
    images = torch.from_numpy(part.images).permute(0, 3, 1, 2).float() / 255
    return images, torch.from_numpy(part.labels)


def _sheet(tiles: NDArray[np.uint8]) -> Image.Image:
    """Square pictures, so many in a row."""
    n, side = tiles.shape[:2]
    rows = tiles.reshape(n // ROW, ROW, side, side, -1).swapaxes(1, 2)
    return Image.fromarray(rows.reshape(n // ROW * side, ROW * side, -1).squeeze())

"""`python -m theory resnet`: slopes of a ResNet. Descriptive, not certified.

ReLU has no smooth gradient and F* is unknown, so no theorem speaks of these runs. F is the mean
loss on a fixed subset, with GroupNorm, or BatchNorm in evaluation mode, so that it is a mean over
samples. Runs of T steps at eta = c / sqrt T, four T, several seeds, every mode; M_T is the mean over
random steps of the product of gradients of two independent half batches, which is unbiased.

    python -m theory resnet                             two CPU cores, a few minutes
    python -m theory resnet --device cuda --model resnet50 --width 64 --precision bf16
    python -m theory resnet --data mypackage.data:load --norm batch
"""

import argparse
import importlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interpretable_sgd.convergence import fit_power
from theory.architectures import NORMS, calibrate, resnet
from theory.descriptive import MODES, PRECISIONS, Experiment, train

LABEL = "descriptive, not certified"


def synthetic(n: int = 256, size: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four classes of oriented gratings in noise, (n, 1, size, size) and labels (n,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    angles = labels * torch.pi / 4
    grid = torch.linspace(-1, 1, size)
    waves = (
        torch.cos(angles)[:, None, None] * grid + torch.sin(angles)[:, None, None] * grid[:, None]
    )
    phases = 6.3 * torch.rand(n, 1, 1, generator=generator)
    images = torch.cos(9 * waves + phases) + torch.randn(n, size, size, generator=generator)
    return images[:, None], labels


def measure(
    experiment: Experiment, modes: list[str], horizons: list[int], seeds: int, seed: int
) -> dict[str, Any]:
    """Every mode over all horizons and seeds: slopes with intervals, losses and theta."""
    results: dict[str, Any] = {}
    for mode in modes:
        start = time.monotonic()
        runs = [[train(experiment, mode, T, seed + s) for s in range(seeds)] for T in horizons]
        averages = np.array([[run.average for run in row] for row in runs])
        found = fit_power(horizons, averages, seed=seed)
        last = runs[-1]
        results[mode] = {
            "slope": float(found.slope),
            "interval": [float(found.low), float(found.high)],
            "averages": averages.tolist(),
            "loss": float(np.mean([run.loss for run in last])),
            "theta": {
                name: float(np.mean([run.theta[name] for run in last])) for name in last[0].theta
            },
            "seconds": round(time.monotonic() - start, 1),
        }
        print(_line(mode, results[mode]), flush=True)
    return results


def _line(mode: str, found: dict[str, Any]) -> str:
    low, high = found["interval"]
    theta = found["theta"]
    growth = (
        f"  theta >= 1: {theta['early share']:.0%} -> {theta['late share']:.0%} of coordinates"
        if "early share" in theta
        else ""
    )
    return (
        f"{mode:12s} slope {found['slope']:7.3f} [{low:.3f}, {high:.3f}]  {LABEL}  "
        f"loss {found['loss']:.4f}  {found['seconds']:.0f} s{growth}"
    )


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    arguments = argparse.ArgumentParser(
        "python -m theory resnet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = arguments.add_argument
    add("--device", default="cpu", help="cpu or cuda")
    add("--model", default="resnet18", help="a ResNet of torchvision")
    add("--width", type=int, default=8, help="channels of the first stage")
    add("--data", default="theory.resnet:synthetic", help="module:function -> (images, labels)")
    add("--norm", choices=NORMS, default="group", help="batch: in evaluation mode")
    add("--modes", nargs="+", choices=MODES, default=list(MODES))
    add("--horizons", type=int, nargs="+", default=[16, 32, 64, 128], help="T")
    add("--seeds", type=int, default=3, help="runs of every mode and horizon")
    add("--seed", type=int, default=0, help="the first of them")
    add("--batch", type=int, default=16, help="B")
    add("--scale", type=float, default=0.5, help="c of eta = c / sqrt T")
    add("--block-size", type=float, default=5, help="K")
    add("--layers", default="head", help="what is routed")
    add("--precision", choices=PRECISIONS, default="float32", help="tf32 and bf16 on CUDA")
    add("--out", type=Path, default=Path("runs/theory/resnet.json"), help="results")
    return arguments


def load(data: str) -> tuple[Tensor, Tensor]:
    """Images and labels from "module:function".

    Raises:
        ValueError: it is not of that form, or gives no images (n, c, h, w) with n labels.
    """
    module, colon, name = data.partition(":")
    if not colon:
        raise ValueError(f"data must be 'module:function', got {data!r}")
    images, labels = getattr(importlib.import_module(module), name)()
    if images.dim() != 4 or labels.shape != images.shape[:1]:
        shapes = f"{tuple(images.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"data must give images (n, c, h, w) and labels (n,), got {shapes}")
    return images.float(), labels.long()


def experiment(options: argparse.Namespace) -> Experiment:
    """What the command line asks for.

    Raises:
        ValueError, ImportError, AttributeError: there are no such data, or no such network.
    """
    images, labels = (tensor.to(options.device) for tensor in load(options.data))

    def build(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = resnet(
                options.model,
                options.width,
                int(labels.max()) + 1,
                images.shape[1],
                options.norm,
                small=images.shape[-1] <= 64,
            ).to(options.device)
        calibrate(net, images)
        return net

    build(options.seed)
    return Experiment(
        build,
        images,
        labels,
        options.batch,
        options.scale,
        options.block_size,
        options.layers,
        precision=options.precision,
    )


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    arguments = parser()
    options = arguments.parse_args(argv)
    if options.precision == "tf32" and options.device == "cpu":
        arguments.error("--precision tf32 needs --device cuda")
    if len(options.horizons) < 3 or options.seeds < 2:
        arguments.error("a slope needs at least 3 horizons and 2 seeds")
    if options.device != "cpu":
        torch.backends.cuda.matmul.allow_tf32 = options.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    try:
        asked = experiment(options)
    except (ValueError, ImportError, AttributeError) as problem:
        arguments.error(str(problem))
    n, size = len(asked.labels), asked.images.shape[-1]
    print(
        f"{options.model}, width {options.width}, {options.norm} norm: F on {n} images {size}x{size}"
    )
    results = measure(asked, options.modes, options.horizons, options.seeds, options.seed)
    record = {
        "label": LABEL,
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "torch": torch.__version__,
        "modes": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {options.out}")
    return 0

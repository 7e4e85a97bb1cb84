"""`python -m theory resnet`: how fast gradients of a ResNet fall. Descriptive, not certified.

ReLU has no smooth gradient and F* is unknown, so no theorem speaks of these runs. F is the mean
loss on a fixed subset, with GroupNorm, or BatchNorm in evaluation mode, so that it is a mean over
samples. Runs of T steps at eta = c / sqrt T, several T and seeds, every mode; M_T is the mean over
the second half of a run, in which the default is settled, of |grad F|^2, of the default of
|grad_S F|^2 on its support.

    python -m theory resnet                             two CPU cores, some minutes
    python -m theory resnet --document                  and keep the outcome under docs/results
    python -m theory resnet --device cuda --model resnet18 --width 64 --precision bf16
    python -m theory resnet --data mypackage.data:load --norm batch
"""

import argparse
import functools
import importlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.convergence import RateCheck, check_rate
from theory.architectures import NORMS, calibrate, resnet
from theory.network_runs import MODES, PRECISIONS, SETTLED, Experiment, train
from theory.store import ROOT

LABEL = "descriptive, not certified"
NOT_ON_CUDA = """No CUDA device was at hand. There the same command measures ResNet-18 at its own width:

```
python -m theory resnet --device cuda --width 64 --precision bf16 --document
```
"""
TO_CERTIFY = """To certify a rate of this net one would need

* a smooth activation (softplus, GELU) in place of ReLU, so that grad F has a Lipschitz constant L,
  and an upper bound of it: eta <= 1 / L can only be estimated (`convergence.largest_curvature`);
* a lower bound of F on the support, for D of the bound; 0 is one, and a poor one;
* a second start near a stationary point, since from one start a long descent looks like a rate;
* runs of at least 3 time constants of the slowest direction, whose curvature is unknown.
"""


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
    experiment: Experiment, modes: list[str], horizons: list[int], seeds: int, seed: int, out: Path
) -> dict[str, RateCheck]:
    """A check of every mode; finished runs are kept beside the record."""
    checks = {}
    for mode in modes:

        def run(horizon: int, seed: int, start: str, mode: str = mode) -> Any:
            return train(experiment, mode, horizon, seed)

        checks[mode] = check_rate(
            run,
            horizons=horizons,
            seeds=seeds,
            starts=("initialisation",),
            since=SETTLED,
            name=mode,
            folder=out.with_suffix("") / mode,
            seed=seed,
        )
        print(f"{checks[mode]}\n  {LABEL}", flush=True)
    return checks


def record(checks: dict[str, RateCheck], options: argparse.Namespace) -> dict[str, Any]:
    """What is kept of a run of the command, as JSON."""
    config = {k: v for k, v in vars(options).items() if k not in ("out", "document")}
    return {
        "label": LABEL,
        "command": f"python -m theory resnet {' '.join(options.given)}".strip(),
        "config": {k: v for k, v in config.items() if k != "given"},
        "torch": torch.__version__,
        "machine": _machine(options.device),
        "modes": {
            mode: {
                "verdict": check.verdict,
                "reason": check.reason,
                "slope": check.slope,
                "interval": list(check.interval),
                "floor": check.floor,
                "table": check.table,
            }
            for mode, check in checks.items()
        },
    }


def _machine(device: str) -> str:
    return torch.cuda.get_device_name() if device != "cpu" else f"{platform.machine()}, CPU"


def page(kept: dict[str, Any]) -> str:
    """docs/results/resnet.md."""
    config, modes = kept["config"], kept["modes"]
    lines = [
        "# Gradients of a ResNet",
        "",
        f"{LABEL.capitalize()}: no theorem speaks of a net with ReLU. Written by",
        "",
        f"```\n{kept['command']}\n```",
        "",
        f"on {kept['machine']}, torch {kept['torch']}. {config['model']} with {config['width']} channels in its "
        f"first stage and {config['norm']} norm; F is the mean loss of a fixed subset. The mean of "
        "$\\lvert\\nabla F\\rvert^2$ over the second half of runs of T steps at a constant rate of order "
        "$1/\\sqrt T$ (of the default $\\lvert\\nabla_SF\\rvert^2$ on its support, settled at T / 2); "
        f"{config['seeds']} runs each, intervals of 95 %.",
        "",
        "![Mean squared gradient norm against T, log-log, four optimizers](resnet.svg)",
        "",
        "| mode | slope | floor | the rate $T^{-1/2}$ | "
        + " | ".join(f"T = {row['horizon']}" for row in next(iter(modes.values()))["table"])
        + " |",
        "|---|---|---|---|" + "---|" * len(next(iter(modes.values()))["table"]),
    ]
    for mode, found in modes.items():
        low, high = found["interval"]
        means = " | ".join(f"{row['mean']:.3g}" for row in found["table"])
        lines.append(
            f"| {mode} | {found['slope']:.2f} [{low:.2f}, {high:.2f}] | {found['floor']:.2f} | "
            f"{found['verdict']} | {means} |"
        )
    lines += ["", *(f"* {mode}: {found['reason']}." for mode, found in modes.items())]
    elsewhere = [NOT_ON_CUDA] if config["device"] == "cpu" else []
    return "\n".join([*lines, "", TO_CERTIFY, *elsewhere])


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
    add("--horizons", type=int, nargs="+", default=[24, 34, 48, 68], help="T")
    add("--seeds", type=int, default=8, help="runs of every mode and horizon")
    add("--seed", type=int, default=0, help="of all of them")
    add("--batch", type=int, default=16, help="B")
    add("--scale", type=float, default=0.5, help="c of eta = c / sqrt T")
    add("--block-size", type=int, default=5, help="K")
    add("--layers", default="head", help="what is routed")
    add("--precision", choices=PRECISIONS, default="float32", help="tf32 and bf16 on CUDA")
    add("--out", type=Path, default=Path("runs/theory/resnet.json"), help="results")
    add("--document", action="store_true", help="write docs/results/resnet.md, too")
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
    build = functools.partial(_build, options, images, int(labels.max()) + 1)
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


def _build(options: argparse.Namespace, images: Tensor, classes: int, seed: int) -> nn.Module:
    """A new, calibrated network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = resnet(
            options.model,
            options.width,
            classes,
            images.shape[1],
            options.norm,
            small=images.shape[-1] <= 64,
        ).to(options.device)
    calibrate(net, images)
    return net


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    arguments = parser()
    options = arguments.parse_args(argv)
    options.given = [word for word in argv if word != "--document"]
    if options.precision == "tf32" and options.device == "cpu":
        arguments.error("--precision tf32 needs --device cuda")
    if options.device != "cpu":
        torch.backends.cuda.matmul.allow_tf32 = options.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    try:
        asked = experiment(options)
        n, size = len(asked.labels), asked.images.shape[-1]
        print(f"{options.model}, width {options.width}: F on {n} images {size}x{size}", flush=True)
        checks = measure(
            asked, options.modes, options.horizons, options.seeds, options.seed, options.out
        )
    except (ValueError, ImportError, AttributeError) as problem:
        arguments.error(str(problem))
    kept = record(checks, options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(kept, indent=1) + "\n")
    picture = options.out.with_suffix(".svg")
    _draw(checks, picture)
    print(f"{TO_CERTIFY}\nwrote {options.out} and {picture}")
    if options.document:
        results = ROOT / "docs" / "results"
        (results / "resnet.json").write_text(json.dumps(kept, indent=1) + "\n")
        (results / "resnet.md").write_text(page(kept))
        _draw(checks, results / "resnet.svg")
        print(f"wrote {results / 'resnet.md'}")
    return 0


def _draw(checks: dict[str, RateCheck], path: Path) -> None:
    first, *others = checks.values()
    try:
        first.plot(path, beside=others)
    except ImportError:
        print("no picture: matplotlib is not installed", file=sys.stderr)

"""A whole training step of InterpretableSGD over torch.optim.SGD's: time and peak memory.

    python -m experiments bench optimizer [--steps 60] [--device cpu cuda] [--out FILE.json]

Claim: on torchvision's ResNet-18 with 32 x 32 images, batch 64, the median ratio is at most 1.03 with
InterpretableSGD's defaults. All contestants step in every round, in random order, and a ratio is that of
two steps of one round. A second SGD shows what the machine's noise alone would give. Peak memory is a
fresh process's growth in resident memory (CPU, on Linux) or the allocator's peak (CUDA).
"""

import argparse
import math
import multiprocessing
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn
from torchvision.models import resnet18

from experiments import store
from experiments.arguments import at_least
from experiments.bench.timing import own_peak
from experiments.methods import BENCHMARKED, EXPECTED_WARNING
from experiments.recipes import Recipe

TARGET = 1.03
RECIPE = Recipe(epochs=1, batch=64, lr=0.1)
CLASSES, SIDE, WARM = 10, 32, 3
CONTESTANTS = {method.name: method for method in BENCHMARKED}


def main(argv: Sequence[str]) -> int:
    """Measure, print a table per device, and write it where `--out` says; returns the exit status."""
    args = _parse(argv)
    console = Console()
    answers = []
    warnings.filterwarnings("ignore", message=EXPECTED_WARNING)
    for device in args.device:
        answer = measure(device, args.steps, args.batch, memory=not args.no_memory)
        answers.append(answer)
        console.print(table(answer))
        console.print(verdict(answer), soft_wrap=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        store.write_json(args.out, answers)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments bench optimizer", description=(__doc__ or "").partition("\n")[0]
    )
    present = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    parser.add_argument(
        "--steps", type=at_least(1), default=60, help="rounds that count (default 60)"
    )
    parser.add_argument("--device", nargs="+", choices=("cpu", "cuda"), default=present)
    parser.add_argument(
        "--batch", type=at_least(2), default=64, help="images in a step (default 64)"
    )
    parser.add_argument("--no-memory", action="store_true", help="time only")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    if "cuda" in args.device and not torch.cuda.is_available():
        parser.error("--device names cuda, but torch sees no CUDA device")
    return args


def measure(device: str, steps: int, batch: int, *, memory: bool = True) -> store.Record:
    """Ratios of every contestant to SGD on one device."""
    calls = {name: training_step(name, device, batch) for name in CONTESTANTS}
    seconds = rounds(calls, steps, device)
    peaks = peak_growths(device, batch) if memory else {}
    dense = peaks.get("SGD")
    rows: dict[str, Any] = {}
    for name, own in seconds.items():
        peak = peaks.get(name)
        ratios = [a / b for a, b in zip(own, seconds["SGD"], strict=True)]
        rows[name] = {
            "milliseconds": 1e3 * statistics.median(own),
            "ratio": statistics.median(ratios),
            "ratio_95": median_interval(ratios),
            "peak_bytes": peak,
            "peak_ratio": peak / dense if peak and dense else None,
        }
    return {
        "contestants": rows,
        "n": steps,
        "batch": batch,
        "target": TARGET,
        "holds": rows["InterpretableSGD"]["ratio"] <= TARGET,
        "hardware": store.hardware(device),
        "versions": store.versions(),
    }


def training_step(name: str, device: str, batch: int) -> Callable[[], None]:
    """Forward, backward and update of a fresh ResNet-18 on fixed random images."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, SIDE, SIDE, generator=generator).to(device)
    labels = torch.randint(CLASSES, (batch,), generator=generator).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resnet18(num_classes=CLASSES).to(device)
    optimizer = CONTESTANTS[name].build(model, RECIPE, seed=0)

    def call() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return call


def rounds(calls: dict[str, Callable[[], None]], steps: int, device: str) -> dict[str, list[float]]:
    """Seconds of every call in every round after the first few, which do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names, order = list(calls), random.Random(0)
    for turn in track(range(-WARM, steps), f"steps on {device}", transient=True):
        order.shuffle(names)
        for name in names:
            _wait(device)
            start = time.perf_counter()
            calls[name]()
            _wait(device)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def median_interval(values: Sequence[float]) -> list[float]:
    """A 95 % confidence interval of the median from order statistics, by the normal approximation.

    >>> median_interval(range(100))
    [40, 60]
    """
    ordered = sorted(values)
    reach = 0.98 * math.sqrt(len(ordered))
    low = max(0, math.floor(len(ordered) / 2 - reach))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + reach))
    return [ordered[low], ordered[high]]


def peak_growths(
    device: str, batch: int, names: Iterable[str] = tuple(CONTESTANTS)
) -> dict[str, int | None]:
    """Peak bytes of three steps of each contestant, in a process each."""
    context = multiprocessing.get_context("spawn")
    growths = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            growths[name] = pool.submit(_peak_growth, name, device, batch).result()
    return growths


def _peak_growth(name: str, device: str, batch: int) -> int | None:
    warnings.filterwarnings("ignore", message=EXPECTED_WARNING)
    before = own_peak()
    call = training_step(name, device, batch)
    for _ in range(3):
        call()
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    after = own_peak()
    return None if before is None or after is None else after - before


def table(answer: store.Record) -> Table:
    """One row per contestant."""
    machine = answer["hardware"]
    title = (
        f"ResNet-18, {SIDE} x {SIDE}, batch {answer['batch']}, n = {answer['n']} rounds, "
        f"{machine['device']}, {machine['threads']} threads"
    )
    shown = Table(title=title, box=SIMPLE_HEAD)
    for column in ("contestant", "ms", "ratio", "95 % of median", "peak MB", "peak ratio"):
        shown.add_column(column, justify="left" if column == "contestant" else "right")
    for name, row in answer["contestants"].items():
        low, high = row["ratio_95"]
        memory = ("-", "-")
        if row["peak_ratio"] is not None:
            memory = (f"{row['peak_bytes'] / 1e6:.0f}", f"{row['peak_ratio']:.3f}")
        shown.add_row(
            name,
            f"{row['milliseconds']:.1f}",
            f"{row['ratio']:.3f}",
            f"{low:.3f}-{high:.3f}",
            *memory,
        )
    return shown


def verdict(answer: store.Record) -> str:
    """Whether the claim holds, with its numbers."""
    row = answer["contestants"]["InterpretableSGD"]
    word = "holds" if answer["holds"] else "does not hold"
    return (
        f"target {TARGET:.2f} {word}: median ratio {row['ratio']:.3f} "
        f"({row['ratio_95'][0]:.3f}-{row['ratio_95'][1]:.3f}, n = {answer['n']})"
    )

"""Network dissection beside a plain NumPy loop: time, growth, memory, and what all of Broden would take.

Claims, on a CPU: with 512 units and 112 x 112 labels, counting is at least 20 times faster than a
NumPy loop over images and units that gives the same counts; time is linear in images times units;
memory does not grow with the number of images.

    python -m experiments bench dissection [--only tally growth memory broden]
        [--rounds N] [--threads N] [--clock cpu]

Contestants take turns; a number is the median over rounds, a ratio the median of the rounds' ratios.
The data are made up to be like Broden's: smooth maps of 7 x 7, planes of colours, objects, parts and
materials that together hold 1197 labels, and scenes and textures of whole images.
"""

import argparse
import math
import platform
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numba
import numpy as np
import torch
from torch import Tensor, nn

from experiments import store
from experiments.arguments import at_least
from experiments.bench import broden_like, dissection_baselines
from experiments.bench.broden_like import LABELS, SIDE
from experiments.bench.timing import CLOCKS, extra_peak, turns
from interpretable_sgd.analysis import dissect
from interpretable_sgd.analysis.concepts import ConceptSample
from interpretable_sgd.analysis.dissection import (
    HighestValues,
    PixelCounts,
    count,
    count_with_tensors,
    read_labels,
    upsample,
)

UNITS, MAP = 512, 7
QUANTILE, PERMUTATIONS = 0.005, 19
BRODEN = 63_305
TARGET = 20


def main(argv: Sequence[str]) -> int:
    """Print the tables that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="experiments bench dissection", description=__doc__)
    parts = {"tally": tally, "growth": growth, "memory": memory, "broden": broden}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--rounds", type=at_least(1), default=9)
    parser.add_argument("--threads", type=at_least(1), default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--images", type=at_least(1), default=16, help="in a call of a contestant")
    parser.add_argument("--out", type=Path, help="write the answer as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    answer = {
        "machine": f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}, "
        f"numba {numba.__version__}",
        "clock": args.clock,
        "rounds": args.rounds,
        "images": args.images,
    }
    print(
        f"{answer['machine']}, {args.clock} clock, median of {args.rounds} rounds of "
        f"{args.images} images"
    )
    for part in args.only:
        answer[part] = parts[part](args)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        store.write_json(args.out, answer)
    return 0


def tally(args: argparse.Namespace) -> store.Record:
    """One block of images, counted in every way; all must agree."""
    vocabulary, block = broden_like.table(), _block(args.images, UNITS)
    maps, thresholds, samples = block
    labels = [read_labels(sample, vocabulary) for sample in samples]
    arrays = maps.numpy(), thresholds.numpy()
    masks = (upsample(maps, (SIDE, SIDE)) > thresholds[:, None, None]).flatten(2).numpy()
    bits = dissection_baselines.packed(masks)
    own = torch.arange(args.images)[None]

    def torch_alone() -> np.ndarray:
        sums = PixelCounts.zeros(1, UNITS, vocabulary)
        count_with_tensors(sums, maps, thresholds, labels, own, (SIDE, SIDE))
        return sums.intersection[0].numpy()

    def dissection() -> np.ndarray:
        sums = PixelCounts.zeros(1, UNITS, vocabulary)
        count(sums, maps, thresholds, labels, own)
        return sums.intersection[0].numpy()

    contestants: dict[str, Callable[[], np.ndarray]] = {
        "NumPy loop": lambda: dissection_baselines.per_image_and_unit(
            *arrays, labels, len(vocabulary)
        ),
        "the same, masks given": lambda: dissection_baselines.of_given_masks(
            masks, labels, len(vocabulary)
        ),
        "bits, packed masks given": lambda: dissection_baselines.of_given_bits(
            bits, labels, len(vocabulary)
        ),
        "torch alone": torch_alone,
        "dissection": dissection,
    }
    counts = [call() for call in contestants.values()]
    if not all((found == counts[0]).all() for found in counts):
        raise RuntimeError("the contestants' counts differ: nothing was measured")
    times = turns(list(contestants.values()), args.rounds, args.clock)
    print(f"\n{UNITS} units, maps {MAP} x {MAP}, labels {SIDE} x {SIDE}; masks cover ", end="")
    print(f"{100 * masks.mean():.2f} % of the pixels\n")
    print("| contestant | ms an image | loop's time over its own | lowest, highest of a round |")
    print("|---|---|---|---|")
    rows: store.Record = {}
    for name, own_times in zip(contestants, times, strict=True):
        ratios = sorted(loop / mine for loop, mine in zip(times[0], own_times, strict=True))
        milliseconds = 1e3 * statistics.median(own_times) / args.images
        rows[name] = {"ms": milliseconds, "ratio": statistics.median(ratios), "ratios": ratios}
        print(
            f"| {name} | {milliseconds:.2f} | {rows[name]['ratio']:.1f} "
            f"| {ratios[0]:.1f}, {ratios[-1]:.1f} |"
        )
    ratio = rows["dissection"]["ratio"]
    print(f"\ntarget {TARGET} {'holds' if ratio >= TARGET else 'does not hold'}: {ratio:.1f}")
    return rows


def growth(args: argparse.Namespace) -> store.Record:
    """Exponent of the counting time in images, units and pairings, by least squares on logarithms."""
    sizes = {"images": (32, 64, 128, 256), "units": (256, 512, 1024, 2048), "pairings": (1, 4, 16)}
    base = {"images": 32, "units": 256, "pairings": 1}
    vocabulary = broden_like.table()
    print("\n| size | values | ms | exponent |\n|---|---|---|---|")
    rows: store.Record = {}
    for name, values in sizes.items():
        calls = []
        for value in values:
            size = {**base, name: value}
            maps, thresholds, samples = _block(size["images"], size["units"])
            labels = [read_labels(sample, vocabulary) for sample in samples]
            pairings = torch.stack([torch.randperm(len(maps)) for _ in range(size["pairings"])])
            sums = PixelCounts.zeros(size["pairings"], size["units"], vocabulary)
            calls.append(partial(count, sums, maps, thresholds, labels, pairings))
        medians = [statistics.median(times) for times in turns(calls, args.rounds, args.clock)]
        rows[name] = {"values": values, "seconds": medians, "exponent": _exponent(values, medians)}
        ms = ", ".join(f"{1e3 * t:.1f}" for t in medians)
        print(f"| {name} | {', '.join(map(str, values))} | {ms} | {rows[name]['exponent']:.2f} |")
    return rows


def memory(args: argparse.Namespace) -> store.Record:
    """Peak of a whole dissection above what was held before, by number of images."""
    print("\n| images | extra MB at the peak |\n|---|---|")
    rows: store.Record = {}
    _dissect(64)  # compiled code and libraries stay in memory
    for n in (256, 1024, 4096):
        peak = extra_peak(partial(_dissect, n, memory=2**18))
        rows[str(n)] = peak
        print(f"| {n} | {'?' if peak is None else f'{peak / 1e6:.0f}'} |", flush=True)
    return rows


def broden(args: argparse.Namespace) -> store.Record:
    """Time of all of Broden, from runs of three lengths, and of the thresholds at its full size."""
    lengths = (256, 512, 1024)
    calls = [partial(_dissect, n, permutations=p) for p in (0, PERMUTATIONS) for n in lengths]
    medians = [
        statistics.median(times) for times in turns(calls, max(1, args.rounds // 3), args.clock)
    ]
    slopes = [
        statistics.linear_regression(lengths, part).slope for part in (medians[:3], medians[3:])
    ]
    highest = HighestValues(UNITS, BRODEN * MAP**2, QUANTILE)
    maps = _block(64, UNITS)[0]
    # long enough for several compactions of what was kept
    blocks = 4 * highest.kept // (64 * MAP**2)
    now = CLOCKS[args.clock]
    start = now()
    for block in range(blocks):
        highest.add(maps, range(64 * block, 64 * block + 64))
    added = (now() - start) / (64 * blocks)
    kept = 2 * UNITS * highest.kept * 4
    counts = (PERMUTATIONS + 1) * UNITS * LABELS * 8
    print(f"\n{BRODEN} images without reading files and without the model's own two passes:")
    print(f"- no null: {BRODEN * slopes[0] / 60:.1f} min ({1e3 * slopes[0]:.2f} ms an image)")
    print(
        f"- null of {PERMUTATIONS}: {BRODEN * slopes[1] / 60:.1f} min "
        f"({1e3 * slopes[1]:.2f} ms an image)"
    )
    print(f"- of it the thresholds at full size: {BRODEN * added / 60:.1f} min")
    print(f"- memory: {kept / 1e6:.0f} MB for thresholds (exact), {counts / 1e6:.0f} MB for counts")
    return {"seconds": slopes, "threshold_seconds": added, "bytes": [kept, counts]}


def _dissect(n: int, permutations: int = PERMUTATIONS, memory: int = 2**28) -> None:
    """Of a model that costs next to nothing and has 512 units."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(16, UNITS, 1), nn.ReLU())
    samples = broden_like.Samples(n)
    dissect(model, "1", samples, permutations=permutations, memory=memory)


def _block(images: int, units: int) -> tuple[Tensor, Tensor, Sequence[ConceptSample]]:
    """Maps, their thresholds, and labelled images."""
    generator = torch.Generator().manual_seed(0)
    maps = broden_like.maps(images, units, MAP, generator)
    highest = HighestValues(units, images * MAP**2, QUANTILE)
    highest.add(maps, range(images))
    return maps, highest.thresholds(), broden_like.labels(images)


def _exponent(values: Sequence[int], seconds: Sequence[float]) -> float:
    logs = [[math.log(x) for x in series] for series in (values, seconds)]
    return statistics.linear_regression(*logs).slope

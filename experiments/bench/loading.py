"""Do the data keep up? Images decoded, augmented and loaded a second, beside those of the training step.

    python -m experiments bench loading --data places365:/data/places365_standard --workers 8
        [--net resnet18] [--batch 64] [--images 1024] [--rounds 5] [--device cpu] [--threads N]

- decoded: read and decoded, or drawn, by one process;
- augmented: the same with the random transform, as training asks for it;
- loaded: in batches, by the workers, while nothing else runs; starting them is not counted;
- step: forward, backward and update of `torch.optim.SGD` on a batch that is there;
- together: the step on what the workers load, which is what training gets.

Contestants take turns; a number is the median over rounds, a ratio that of the rounds' ratios. The slower
of loaded and step makes the other wait; on a CPU each also takes cores from the other.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset

from experiments import store
from experiments.arguments import at_least
from experiments.datasets.dataset import LabelledData, collate
from experiments.datasets.registry import OUT, SCALES, open_data
from experiments.models.registry import Model
from experiments.training.sampler import EpochSampler

Batch = tuple[Tensor, Tensor]


def main(argv: Sequence[str]) -> int:
    """Measure, print the table, say who waits."""
    parser = argparse.ArgumentParser(
        prog="experiments bench loading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", default="places365", help="name[:path][,option=value]...")
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="of data without a path")
    parser.add_argument("--net", default="resnet18", help="resnet18 or resnet50")
    parser.add_argument("--workers", type=at_least(0), default=2)
    parser.add_argument("--batch", type=at_least(2), default=64)
    parser.add_argument("--images", type=int, default=1024, help="in a round, about")
    parser.add_argument("--rounds", type=at_least(1), default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=at_least(1), default=torch.get_num_threads())
    parser.add_argument(
        "--folder", type=Path, default=OUT, help="below which stand-ins are written"
    )
    parser.add_argument("--out", type=Path, help="write the answer as JSON")
    args = parser.parse_args(argv)
    if args.images < 2 * args.batch:
        parser.error(f"--images must be at least two batches, {2 * args.batch}, got {args.images}")
    torch.set_num_threads(args.threads)
    try:
        images = open_data(args.data, scale=args.scale, out=args.folder)
        contestants = contestants_of(images, args)
    except ValueError as error:
        parser.error(str(error))
    rates = measured(contestants, args.rounds)
    answer = {
        "data": images.identity,
        "net": args.net,
        "batch": args.batch,
        "workers": args.workers,
        "hardware": store.hardware(args.device),
        "versions": store.versions(),
        "images_per_second": rates,
    }
    _print(answer, images)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        store.write_json(args.out, answer)
    return 0


def contestants_of(
    images: LabelledData, args: argparse.Namespace
) -> dict[str, Callable[[], float]]:
    """What is measured; each call gives images a second.

    Raises:
        ValueError: no such net; fewer images than a batch.
    """
    device = torch.device(args.device)
    training = Training(Model(args.net).build(images.shape, images.classes), device)
    # epochs enough for a round, each in an order of its own
    order = EpochSampler(
        len(images.train), args.batch, 1 + args.images // len(images.train), seed=0
    )
    steps = min(len(order), args.images // args.batch)
    keys = [key for batch in islice(order, steps) for key in batch]
    ready = next(iter(loader(images, order, 0)))

    def one_by_one(read: Callable[[tuple[int, int]], object]) -> float:
        start = time.perf_counter()
        for key in keys:
            read(key)
        return len(keys) / (time.perf_counter() - start)

    return {
        "decoded": partial(one_by_one, lambda key: images.train.samples[key[1]]),
        "augmented": partial(one_by_one, images.train.__getitem__),
        "loaded": lambda: rate(loader(images, order, args.workers), steps, lambda batch: None),
        "step": lambda: rate((ready for _ in count()), steps, training.step, training.wait),
        "together": lambda: rate(
            loader(images, order, args.workers, device), steps, training.step, training.wait
        ),
    }


class Training:
    """A net and the plain step that a loader has to keep up with."""

    def __init__(self, net: nn.Module, device: torch.device) -> None:
        self.net, self.device = net.to(device).train(), device
        self.optimizer = SGD(self.net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def step(self, batch: Batch) -> None:
        """Copy a batch to the device, forward, backward, update."""
        images, labels = (part.to(self.device, non_blocking=True) for part in batch)
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.net(images), labels).backward()
        self.optimizer.step()

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def loader(
    images: LabelledData, order: EpochSampler, workers: int, device: torch.device | None = None
) -> DataLoader[Batch]:
    """As training loads."""
    pinned = device is not None and device.type == "cuda"
    train: Dataset[Any] = images.train
    return DataLoader(
        train, batch_sampler=order, num_workers=workers, collate_fn=collate, pin_memory=pinned
    )


def rate(
    batches: DataLoader[Batch] | Iterator[Batch],
    steps: int,
    use: Callable[[Batch], None],
    wait: Callable[[], None] = lambda: None,
) -> float:
    """Images a second after the first batch, which waits for workers to start.

    What they load ahead in that time is a gift of at most two batches a worker.

    >>> rate(((torch.zeros(8, 1), torch.zeros(8)) for _ in range(3)), 3, lambda batch: None) > 0
    True
    """
    iterator = iter(batches)
    use(next(iterator))
    wait()
    start, done = time.perf_counter(), 0
    for batch in islice(iterator, steps - 1):
        use(batch)
        done += len(batch[1])
    wait()
    return done / (time.perf_counter() - start)


def measured(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Images a second of every contestant in every round, after a round that does not count."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(-1, rounds):
        for name, contestant in contestants.items():
            found = contestant()
            if round_ >= 0:
                rates[name].append(found)
    return rates


def verdict(loaded: float, together: float, workers: int) -> str:
    """Who waits for whom, from images a second over those of the step alone.

    >>> verdict(loaded=0.5, together=0.48, workers=2)
    'the step waits: 2 workers load 50 % of what it takes, about 4 would do; together 48 % of the step alone'
    >>> verdict(loaded=3, together=0.99, workers=2)
    'the data wait: 2 workers load 3.0 times what the step takes; together 99 % of the step alone'
    """
    who = f"{workers} workers load" if workers else "without workers they come at"
    end = f"together {100 * together:.0f} % of the step alone"
    if loaded >= 1:
        return f"the data wait: {who} {loaded:.1f} times what the step takes; {end}"
    need = math.ceil(max(workers, 1) / loaded)
    return (
        f"the step waits: {who} {100 * loaded:.0f} % of what it takes, about {need} would do; {end}"
    )


def _print(answer: store.Record, images: LabelledData) -> None:
    hardware, rates = answer["hardware"], answer["images_per_second"]
    print(
        f"{images.name}, {' x '.join(map(str, images.shape))}, {answer['net']}, batch "
        f"{answer['batch']}, {answer['workers']} workers; {hardware['device']}, {hardware['cores']} "
        f"cores, {hardware['threads']} threads\n"
    )
    print("| | images a second | lowest, highest of a round |\n|---|---|---|")
    for name, found in rates.items():
        print(
            f"| {name} | {statistics.median(found):,.0f} | {min(found):,.0f}, {max(found):,.0f} |"
        )
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates[name], rates["step"], strict=True))
        for name in ("loaded", "together")
    }
    print(f"\n{verdict(ratios['loaded'], ratios['together'], answer['workers'])}")

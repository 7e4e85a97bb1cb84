"""Routed layers beside dense and straightforward ones: time, memory, growth, and a whole ResNet-18.

Claims, on a CPU: at (B, O, M, K) = (256, 365, 512, 5) forward + backward are at least 15 times
faster than ``(x[:, None] * W).topk(K)`` with at most 1/20 of its extra memory; time grows at most
linearly in each of B, O, M; a ResNet-18 training step with a routed head takes at most 1.03 times
the dense one.

    python -m experiments bench routing [--only layers growth resnet] [--threads N] [--device cuda]

Contestants take turns within one run; a number is the median over turns. ``--clock cpu`` counts the
processor time of this process alone, which on a busy machine and with one thread is the fairer clock.
"""

import argparse
import math
import platform
import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from experiments.bench.timing import CLOCKS, extra_peak, turns
from interpretable_sgd import DynamicConv2d, DynamicLinear, EMRoutingLinear, route

LINEAR_SIZES = [(256, 10, 512, 5), (256, 365, 512, 5), (256, 365, 2048, 25), (64, 1000, 2048, 5)]
CUDA_SIZES = [(256, 365, 2048, 5)]
CONV_SIZE = (16, 256, 512, 14, 32)  # batch, channels in and out, side, k
EM_LIMIT = 5e7  # votes; EM routing holds several tensors of all of them
GROWTH_BASE = {"B": 128, "O": 256, "M": 512}
GROWTH_FACTORS = (1, 2, 4, 8)
GROWTH_K = 5


class Straightforward(nn.Module):
    """The routed layer as anyone would first write it."""

    def __init__(self, weight: Tensor, k: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """[n, m] -> [n, o], or [n, m, h, w] -> [n, o, h, w]."""
        if x.dim() == 4:
            return (
                self.route(x.permute(0, 2, 3, 1).flatten(0, 2))
                .view(x.shape[0], *x.shape[2:], -1)
                .permute(0, 3, 1, 2)
            )
        return self.route(x)

    def route(self, x: Tensor) -> Tensor:
        """[n, m] -> [n, o]."""
        return (x[:, None] * self.weight.flatten(1)).topk(self.k).values.sum(-1)


def main(argv: Sequence[str]) -> int:
    """Print the tables that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="experiments bench routing", description=__doc__)
    parts = {"layers": layers, "growth": growth, "resnet": resnet}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    print(
        f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}, "
        f"{args.device}, {args.dtype}, {args.clock} clock, median of {args.rounds} turns"
    )
    for part in args.only:
        parts[part](args)
    return 0


def layers(args: argparse.Namespace) -> None:
    """Time and memory of one layer, forward + backward."""
    print("\n| layer | B, O, M, K | contestant | ms | x dense | extra MB | speed-up | memory |")
    print("|---|---|---|---|---|---|---|---|")
    dtype = getattr(torch, args.dtype)
    for size in [*LINEAR_SIZES, *(CUDA_SIZES if args.device == "cuda" else ())]:
        b, o, m, k = size
        dense = nn.Linear(m, o)
        contestants: dict[str, nn.Module] = {
            "nn.Linear": dense,
            "DynamicLinear": _with_weight(DynamicLinear(m, o, k), dense),
            "straightforward": Straightforward(dense.weight, k),
        }
        if b * o * m <= EM_LIMIT:
            contestants["EMRoutingLinear"] = EMRoutingLinear(m, o)
        _table("Linear", size, contestants, torch.rand(b, m), dtype, args)
    b, m, o, side, k = CONV_SIZE
    conv = nn.Conv2d(m, o, 1)
    contestants = {
        "nn.Conv2d": conv,
        "DynamicConv2d": _with_weight(DynamicConv2d(m, o, k), conv),
        "straightforward": Straightforward(conv.weight, k),
    }
    size = (b * side * side, o, m, k)
    _table("Conv2d 1x1", size, contestants, torch.rand(b, m, side, side), dtype, args)


def growth(args: argparse.Namespace) -> None:
    """Exponent of the time in each size, by least squares on logarithms."""
    print("\n| size | values | ms | exponent |\n|---|---|---|---|")
    for name, start in GROWTH_BASE.items():
        values = [start * f for f in GROWTH_FACTORS]
        calls = []
        for value in values:
            b, o, m = ({**GROWTH_BASE, name: value}[key] for key in ("B", "O", "M"))
            layer = DynamicLinear(m, o, GROWTH_K).to(args.device, getattr(torch, args.dtype))
            calls.append(_step(layer, torch.rand(b, m).to(layer.weight)))
        times = _interleaved(calls, args)
        slope = statistics.linear_regression(
            [math.log(v) for v in values], [math.log(t) for t in times]
        ).slope
        ms = ", ".join(f"{1e3 * t:.2f}" for t in times)
        print(f"| {name} | {', '.join(map(str, values))} | {ms} | {slope:.2f} |")


def resnet(args: argparse.Namespace) -> None:
    """A whole training step of ResNet-18 with a routed head, over the dense one."""
    torch.manual_seed(0)
    images = torch.rand(16, 3, 224, 224, device=args.device)
    labels = torch.randint(365, (16,), device=args.device)
    calls: list[Callable[[], None]] = []
    for model in (resnet18(num_classes=365), route(resnet18(num_classes=365), k=5)):
        model.to(args.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

        def step(model: nn.Module = model, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

        calls.append(step)
    times = _turns(calls, args)
    ratios = [routed / dense for dense, routed in zip(*times, strict=True)]
    dense, routed = (statistics.median(each) for each in times)
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    print(
        f"\nResNet-18 step, batch 16 of 224 x 224, 365 classes: dense {1e3 * dense:.0f} ms, "
        f"routed head {1e3 * routed:.0f} ms, ratio of medians {routed / dense:.3f} "
        f"(standard error of a turn's ratio {error:.3f})"
    )


def _table(
    kind: str,
    size: tuple[int, ...],
    contestants: dict[str, nn.Module],
    x: Tensor,
    dtype: torch.dtype,
    args: argparse.Namespace,
) -> None:
    calls = [
        _step(c.to(args.device, dtype), x.to(args.device, dtype)) for c in contestants.values()
    ]
    times = dict(zip(contestants, _interleaved(calls, args), strict=True))
    peaks = {
        name: extra_peak(call, args.device) for name, call in zip(contestants, calls, strict=True)
    }
    dense = next(iter(times.values()))
    naive_time, naive_peak = times["straightforward"], peaks["straightforward"]
    for name in contestants:
        peak = peaks[name]
        memory, share = "?", "?"
        if peak is not None and naive_peak is not None:
            memory, share = f"{peak / 1e6:.1f}", f"{peak / naive_peak:.4f}"
        print(
            f"| {kind} | {', '.join(map(str, size))} | {name} | {1e3 * times[name]:.2f} "
            f"| {times[name] / dense:.1f} | {memory} "
            f"| {naive_time / times[name]:.1f} | {share} |",
            flush=True,
        )


def _with_weight(layer: nn.Module, dense: nn.Module) -> nn.Module:
    layer.load_state_dict(dense.state_dict())
    return layer


def _step(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward to both input and weight."""
    x = x.detach().requires_grad_()
    with torch.no_grad():
        grad_y = torch.randn_like(layer(x))

    def call() -> None:
        x.grad = None
        layer.zero_grad()
        layer(x).backward(grad_y)

    return call


def _interleaved(calls: list[Callable[[], None]], args: argparse.Namespace) -> list[float]:
    return [statistics.median(times) for times in _turns(calls, args)]


def _turns(calls: list[Callable[[], None]], args: argparse.Namespace) -> list[list[float]]:
    wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    return turns(calls, args.rounds, args.clock, wait)

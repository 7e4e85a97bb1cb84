"""Which runs each table and figure is made of: literal lists, nothing is searched.

A row is (network, method); a run is a row on a data set at a scale with a seed. Rows that several tables
share are trained once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from experiments.paper.planned import DENSE, Planned
from experiments.paper.recipes import SCALES

Row = tuple[str, str]
CONCEPTS = "broden"  # what units are labelled by where images carry no concepts; no table's data
SEEDS = {"tiny": (0, 1), "small": (0, 1, 2), "paper": (0, 1, 2), "code": (0, 1, 2)}

DYNAMIC_5, OURS = ("resnet18_d5a", "sgd"), ("resnet18_isgd", "isgd")
L1 = ("resnet18_l1", "l1")
INNER = ("resnet18_d32_32_5a", "sgd")

TABLE1: list[Row] = [
    DENSE,
    ("resnet18_d1a", "sgd"),
    DYNAMIC_5,
    ("resnet18_d10a", "sgd"),
    ("resnet18_d25a", "sgd"),
    ("resnet18_d50a", "sgd"),
    ("resnet18_d100a", "sgd"),
    L1,
    ("resnet50", "sgd"),
    ("resnet50_d25a", "sgd"),
    OURS,
    ("resnet18_isgd", "faithful"),
    ("resnet18_isgd", "unbiased"),
]
# the paper's nets of each figure, and ours beside them
FIGURE4: list[Row] = [DENSE, L1, DYNAMIC_5, ("resnet18_d1a", "sgd"), OURS]
FIGURE5: list[Row] = [
    DENSE,
    DYNAMIC_5,
    ("resnet18_d10a", "sgd"),
    ("resnet18_d25a", "sgd"),
    ("resnet18_d50a", "sgd"),
    ("resnet18_d100a", "sgd"),
    OURS,
]
FIGURE6: list[Row] = [DYNAMIC_5, OURS]
FIGURE7: list[Row] = [DYNAMIC_5, DENSE, OURS]
SUPPLEMENT1: list[Row] = [INNER, DENSE]
SUPPLEMENT2: list[Row] = [INNER]

FRONTIER: list[Row] = [
    DENSE,
    ("resnet18_d1a", "sgd"),
    DYNAMIC_5,
    ("resnet18_d25a", "sgd"),
    ("resnet18_l1", "l1 strength=1e-3"),
    L1,
    ("resnet18_l1", "l1 strength=1e-2"),
    ("resnet18_isgd", "isgd block_size=2"),
    ("resnet18_isgd", "isgd block_size=3"),
    OURS,
    ("resnet18_isgd", "isgd block_size=10"),
]
FRONTIER_SHORT: list[Row] = [DENSE, DYNAMIC_5, L1, OURS]

ABLATION: list[Row] = [
    OURS,
    ("resnet18_isgd", "isgd lipschitz=weight"),
    ("resnet18_isgd", "isgd lipschitz=softmax"),
    ("resnet18_isgd", "isgd lipschitz=activation"),
    ("resnet18_isgd", "isgd lipschitz=contribution"),
    ("resnet18_isgd", "isgd sparsity=-1"),
    ("resnet18_isgd", "isgd sparsity=0.5"),
    ("resnet18_isgd", "isgd sparsity=1"),
    ("resnet18_isgd", "isgd block_size=2"),
    ("resnet18_isgd", "isgd block_size=10"),
    ("resnet18_isgd", "isgd floor=0"),
    ("resnet18_isgd", "isgd floor=0.2"),
    ("resnet18_isgd", "isgd shrink=0"),
    ("resnet18_isgd", "isgd shrink=100"),
    ("resnet18_isgd", "isgd mask=shared-current"),
    ("resnet18_isgd", "isgd mask=per-sample"),
    ("resnet18_isgd", "isgd layers=all"),
    ("resnet18_isgd", "isgd horizon=0"),
    ("resnet18_isgd", "isgd momentum=0"),
    ("resnet18_isgd", "isgd batch=128"),
]

SIZES = (24, 64, 128)
SCENES = {
    "tiny": (
        "scenes:size=24,classes=8,concepts=8,train=560",
        "scenes:size=64,classes=8,concepts=8,train=240",
        "scenes:size=128,classes=8,concepts=8,train=400",
    ),
    "small": tuple(f"scenes:size={size},classes=24,concepts=16,train=3000" for size in SIZES),
    "paper": tuple(f"scenes:size={size},classes=100,concepts=48" for size in SIZES),
    "code": tuple(f"scenes:size={size},classes=100,concepts=48" for size in SIZES),
}


def grid(
    rows: Sequence[Row], data: Iterable[str], scale: str, seeds: Sequence[int] | None = None
) -> list[Planned]:
    """Every row on every data set with every seed; `seeds` defaults to the scale's.

    >>> [planned.label for planned in grid([DENSE], ["cifar10"], "tiny", [7])]
    ['resnet18-sgd-cifar10-tiny-seed7']
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    chosen = SEEDS[scale] if seeds is None else seeds
    return [
        Planned(network, method, name, scale, seed)
        for name in data
        for network, method in rows
        for seed in chosen
    ]


def one_seed(
    rows: Sequence[Row], data: Iterable[str], scale: str, seeds: Sequence[int] | None = None
) -> list[Planned]:
    """The same with the first seed alone, for figures that show one net and no spread."""
    runs = grid(rows, data, scale, seeds)
    return [run for run in runs if run.seed == runs[0].seed]


def frontier(scale: str, seeds: Sequence[int] | None = None) -> list[Planned]:
    """Every method at every size; at `tiny` and `small` the larger sizes have four of them."""
    small, *larger = _scenes(scale)
    rows = FRONTIER_SHORT if scale in ("tiny", "small") else FRONTIER
    return grid(FRONTIER, [small], scale, seeds) + grid(rows, larger, scale, seeds)


def ablation(scale: str, seeds: Sequence[int] | None = None) -> list[Planned]:
    """One change at a time, at every size but at `tiny` at the smallest alone."""
    small, *larger = _scenes(scale)
    return grid(ABLATION, [small] if scale == "tiny" else [small, *larger], scale, seeds)


def _scenes(scale: str) -> tuple[str, ...]:
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    return SCENES[scale]

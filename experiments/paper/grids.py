"""The runs that each table and figure is made of: literal lists, nothing is searched.

A row is a network and a method; a run is a row on a data set at a scale with a seed. Rows that several tables
share are trained once.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from experiments.evaluation.sparse_heads import PostHoc
from experiments.methods import ALGORITHM_3, SHARED, Method, changed, dynamic, l1
from experiments.methods import DENSE as SGD
from experiments.methods import OURS as ISGD
from experiments.models.registry import Model
from experiments.recipes import SCALES, recipe
from experiments.run import Protocol, Run

Row = tuple[str, Method]
PAPERS = ("cifar10", "places365")  # data sets that the paper trains on, all of their images
Seeds = Sequence[int] | None
SEEDS = {"tiny": (0, 1), "small": (0, 1, 2), "paper": (0, 1, 2), "code": (0, 1, 2)}
# of the networks' channels and of the blocks of a stage; 1 and None are the paper's networks
NETWORKS: dict[str, dict[str, Any]] = {
    "tiny": {"share": 0.25, "blocks": 1},
    "small": {"share": 0.25, "blocks": 1},
    "paper": {},
    "code": {},
}
STRENGTHS = (0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.0005)  # lambda of each sparse head
PROTOCOLS = {
    "tiny": Protocol(watched=48, looked=48, dissected=128, shown=8),
    "small": Protocol(watched=500, looked=500, dissected=1000, shown=8),
    "paper": Protocol(watched=2000, looked=2000, dissected=20_000, shown=8),
    "code": Protocol(watched=2000, looked=2000, dissected=20_000, shown=8),
}
FROZEN = {"tiny": 300, "small": 5000, "paper": 50_000, "code": 50_000}  # images of sparse heads

DENSE, OURS = ("resnet18", SGD), ("resnet18", ISGD)
DYNAMIC_5, L1 = ("resnet18", dynamic(5)), ("resnet18", l1())
# the supplement's: Dynamic-32 convolutions before two stages, as shares of what they read
INNER = (
    "resnet18",
    replace(dynamic(5), name="Dynamic-[32,32,5]", inserted={"layer3": 0.25, "layer4": 0.125}),
)

TABLE1: list[Row] = [
    DENSE,
    ("resnet18", dynamic(1)),
    DYNAMIC_5,
    ("resnet18", dynamic(10)),
    ("resnet18", dynamic(25)),
    ("resnet18", dynamic(50)),
    ("resnet18", dynamic(100)),
    L1,
    ("resnet50", SGD),
    ("resnet50", dynamic(25)),
    INNER,
    OURS,
    ("resnet18", ALGORITHM_3),
    ("resnet18", SHARED),
]
# the paper's networks of each figure, and ours beside them
FIGURE4: list[Row] = [DENSE, L1, DYNAMIC_5, ("resnet18", dynamic(1)), OURS]
FIGURE5: list[Row] = [
    DENSE,
    DYNAMIC_5,
    ("resnet18", dynamic(10)),
    ("resnet18", dynamic(25)),
    ("resnet18", dynamic(50)),
    ("resnet18", dynamic(100)),
    OURS,
]
FIGURE6: list[Row] = [DYNAMIC_5, OURS]
FIGURE7: list[Row] = [DYNAMIC_5, DENSE, OURS]
SUPPLEMENT1: list[Row] = [INNER, DENSE]
SUPPLEMENT2: list[Row] = [INNER]

FRONTIER: list[Row] = [
    DENSE,
    ("resnet18", dynamic(1)),
    DYNAMIC_5,
    ("resnet18", dynamic(25)),
    ("resnet18", l1(1e-3)),
    L1,
    ("resnet18", l1(1e-2)),
    ("resnet18", changed(ISGD, block_size=2)),
    ("resnet18", changed(ISGD, block_size=3)),
    OURS,
    ("resnet18", changed(ISGD, block_size=10)),
]
FRONTIER_SHORT: list[Row] = [DENSE, DYNAMIC_5, L1, OURS]

ABLATION: list[Row] = [OURS] + [
    ("resnet18", changed(ISGD, **change))
    for change in (
        {"method": "shared"},
        {"method": "algorithm3"},
        {"block_size": 2},
        {"block_size": 10},
        {"form": 0},
        {"settle": 0.1},
        {"settle": math.inf},
        {"shrink": 0},
        {"shrink": 100},
        {"layers": "all"},
        {"momentum": 0},
        {"batch": 128},
    )
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


def grid(rows: Sequence[Row], data: Iterable[str], scale: str, seeds: Seeds = None) -> list[Run]:
    """Every row on every data set with every seed; `seeds` defaults to the scale's.

    >>> [run.label for run in grid([DENSE], ["cifar10"], "tiny", [7])]
    ['resnet18-SGD-cifar10-tiny-seed7']
    """
    _check(scale)
    return [
        planned(network, method, name, scale, seed)
        for name in data
        for network, method in rows
        for seed in (SEEDS[scale] if seeds is None else seeds)
    ]


def planned(network: str, method: Method, data: str, scale: str, seed: int) -> Run:
    """One run; heads are fitted afterwards on the units of the dense network."""
    protocol = PROTOCOLS[scale]
    if scale in ("paper", "code") and data in PAPERS:
        protocol = replace(protocol, literal=True)
    if scale == "code" and method.dynamic:
        method = replace(method, exactly=True)
    if (network, method.name) == (DENSE[0], SGD.name):
        post_hoc = PostHoc(STRENGTHS, FROZEN[scale], glm_saga=True)
        protocol = replace(protocol, post_hoc=post_hoc)
    model = Model(network, NETWORKS[scale], network)
    return Run(data, model, method, recipe(data, scale), protocol, scale, seed)


def one_seed(
    rows: Sequence[Row], data: Iterable[str], scale: str, seeds: Seeds = None
) -> list[Run]:
    """The same with the first seed alone, for figures that show one network and no spread."""
    runs = grid(rows, data, scale, seeds)
    return [run for run in runs if run.seed == runs[0].seed]


def frontier(scale: str, seeds: Seeds = None) -> list[Run]:
    """Every method at every size; at `tiny` and `small` the larger sizes have four of them."""
    _check(scale)
    small, *larger = SCENES[scale]
    rows = FRONTIER_SHORT if scale in ("tiny", "small") else FRONTIER
    return grid(FRONTIER, [small], scale, seeds) + grid(rows, larger, scale, seeds)


def claims(scale: str, seeds: Seeds = None) -> list[Run]:
    """The nets that Section 4 and the supplement speak of, and ours."""
    cifar10, places365 = PAPERS
    return grid(FIGURE4, [cifar10], scale, seeds) + grid(
        [*FIGURE5, INNER], [places365], scale, seeds
    )


def ablation(scale: str, seeds: Seeds = None) -> list[Run]:
    """One change at a time, at every size but at `tiny` at the smallest alone."""
    _check(scale)
    small, *larger = SCENES[scale]
    return grid(ABLATION, [small] if scale == "tiny" else [small, *larger], scale, seeds)


def _check(scale: str) -> None:
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")

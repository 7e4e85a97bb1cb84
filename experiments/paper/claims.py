"""The paper's Section 4 and supplement, sentence by sentence: its number, ours, and a verdict.

A verdict is of paired differences over seeds: it holds or fails where the 95 % interval lies on one side of what the
sentence says, and is open where the interval has both, or there is one seed. An order holds or fails where every seed
says so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import published
from experiments.evaluation.selection import THRESHOLD
from experiments.paper.grids import PAPERS
from experiments.paper.verdicts import (
    Judge,
    Measure,
    Nets,
    above,
    as_published,
    at_least,
    best_is_near,
    falling,
    near,
    of_the_paper,
    unmeasured,
)
from experiments.run import Run
from experiments.store import Stored
from experiments.tables import NONE, ResultTable

CIFAR10, PLACES365 = PAPERS
D1, D5, DENSE, L1, ISGD = "Res18-d1a", "Res18-d5a", "Res18", "Res18-L1", "Res18-ISGD"
INNER = "Res18-d[32,32,5]a"
GROWING = tuple(f"Res18-d{k}a" for k in (5, 10, 25, 50, 100))
GROWN, DENSER = (DENSE, *GROWING), ("Res18-d50a", "Res18-d100a", DENSE)
NEGLIGIBLE = 0.01  # of accuracy, that "nearly the same" and "negligible" may mean
SIMILAR = 0.02  # of accuracy on training images, averaged over the run: a similar speed
FEW = 5  # concepts
COLUMNS = ("sentence", "paper", "here", "ours", "seeds", "verdict")


class Claim(NamedTuple):
    """A sentence, shortened.

    Attributes:
        sentence: what it says.
        paper: its number, or where the paper shows it.
        judge: of the nets of a data set.
        of_d5: whether it is about Res18-d5a, so that InterpretableSGD's net can stand in its place.
    """

    sentence: str
    paper: str
    judge: Judge
    of_d5: bool = False


def accuracy(run: Stored) -> float:
    """On test images."""
    return float(run["accuracy"])


def top5(run: Stored) -> float:
    """On test images."""
    return float(run["top5"])


def sparsity(run: Stored) -> float:
    """Share of the head's weights below 1e-3."""
    return float(run["sparsity"])


def iou(run: Stored) -> float:
    """Mean over units; NaN where units are not labelled."""
    return _number((run["unit_labels"] or {}).get("mean_iou"))


def f1(run: Stored) -> float:
    """Of class -> concept, against the concepts that make up the class; NaN where nobody knows them."""
    return _number((run["unit_labels"] or {}).get("f1"))


def learned(run: Stored) -> float:
    """Accuracy on training images, averaged over epochs: how fast a net learns."""
    return float(np.mean([e["train_accuracy"] for e in run["epochs"] if e["epoch"]]))


def residual(k: int) -> Measure:
    """What the k largest contribution scores of a decision leave."""
    return lambda run: _number(run.record.get("signed_residual", {}).get(str(k)))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def few_concepts(weight: np.ndarray, names: np.ndarray) -> float:
    """Share of the outputs that read anything which read at most five concepts; a unit without one counts as one.

    >>> few_concepts(np.eye(6)[[0, 1]] + np.array([[0.0], [1.0]]), np.array(list("abcdef")))
    0.5
    """
    named = np.array([name or f"unit {m}" for m, name in enumerate(names)])
    read = [len(set(named[abs(row) >= THRESHOLD])) for row in weight]
    return _mean([count <= FEW for count in read if count])


def classes_of_few(run: Stored) -> float:
    """Share of the classes that read at most five concepts."""
    names = run.arrays.get("unit_names")
    return np.nan if names is None else few_concepts(run.arrays["weight"], names)


def units_of_few(run: Stored) -> float:
    """Share of the units of both routed convolutions that read at most five concepts."""
    of = "inner_in_names:"
    layers = [name.removeprefix(of) for name in run.arrays if name.startswith(of)]
    shares = [few_concepts(run.arrays[f"inner:{x}"], run.arrays[f"{of}{x}"]) for x in layers]
    return _mean(shares)


def units_read(run: Stored) -> float:
    """Mean over units of the routed convolutions of how many lower units they read."""
    layers = [array for name, array in run.arrays.items() if name.startswith("inner:")]
    return _mean([(abs(layer) >= THRESHOLD).sum(1).mean() for layer in layers])


TOP1, TOP5 = published.TOP1[PLACES365], published.TOP5[PLACES365]
BEST1, BEST5 = (max(top[name] for name in (DENSE, *GROWING)) for top in (TOP1, TOP5))
NO_PHOTOGRAPHS = "photographs, a GPU"
NO_SECONDS = unmeasured("bench routing")


def _gain(top: Mapping[str, float], net: str) -> str:
    return f"{top[net] - top[DENSE]:+.2f}"


def _kept(net: str, top: Mapping[str, float]) -> Claim:
    judge = above(net, DENSE, accuracy, -NEGLIGIBLE)
    return Claim(f"{net}: the accuracy is nearly the same", _gain(top, net), judge, net == D5)


def _better(net: str) -> Claim:
    return Claim(f"{net}: even better than Res18", _gain(TOP1, net), above(net, DENSE, accuracy))


def _as_fast(net: str) -> Claim:
    judge = near(net, DENSE, learned, SIMILAR)
    return Claim(f"{net}: converges at a similar speed", "Fig. 4 (a)", judge, net == D5)


CLAIMS: dict[tuple[str, str], tuple[Claim, ...]] = {
    ("4.1", CIFAR10): (
        _as_fast(D1),
        _as_fast(D5),
        _kept(D1, published.TOP1[CIFAR10]),
        _kept(D5, published.TOP1[CIFAR10]),
        Claim(
            "sparsity: d1a > d5a >> L1 > Res18",
            "Fig. 4 (b)",
            falling((D1, D5, L1, DENSE), sparsity),
        ),
        Claim("sparser than by explicit terms", "Fig. 4 (b)", above(D5, L1, sparsity), True),
        Claim("no training time sacrificed", NONE, NO_SECONDS),
        Claim(
            "Table 1, the accuracies",
            "9 numbers",
            as_published(published.TOP1[CIFAR10], accuracy, NO_PHOTOGRAPHS),
        ),
    ),
    ("4.2", PLACES365): (
        _better("Res18-d25a"),
        _better("Res18-d50a"),
        *(_kept(net, TOP1) for net in GROWING),
        Claim("d5a: 99 % sparsity", "99 %", at_least(D5, sparsity, 0.99), True),
        Claim(
            "d5a: within 0.1 % of best top-1", "0.1", best_is_near(D5, GROWN, accuracy, 0.001), True
        ),
        Claim("d5a: within 0.4 % of best top-5", "0.4", best_is_near(D5, GROWN, top5, 0.004), True),
        Claim("sparsity: d50a > d100a >> Res18", "Fig. 5 (b)", falling(DENSER, sparsity)),
        Claim("smaller K, larger IoU", "Fig. 5 (c)", falling(GROWING, iou, 3)),
        Claim("more interpretable units (IoU)", "Fig. 5 (c)", above(D5, DENSE, iou, 0, 1, 3), True),
        Claim("no additional cost", NONE, NO_SECONDS),
        Claim("Table 1, top-1", "10 numbers", as_published(TOP1, accuracy, NO_PHOTOGRAPHS)),
        Claim("Table 1, top-5", "10 numbers", as_published(TOP5, top5, NO_PHOTOGRAPHS)),
    ),
    ("4.3", PLACES365): (
        Claim(
            "95 % of classes have <= 5 concepts", "95 %", at_least(D5, classes_of_few, 0.95), True
        ),
        Claim(
            "< 5 units leave a residual of 2 %", "2 %", at_least(D5, residual(4), 0.02, -1), True
        ),
        Claim("45 % with [38] on the baseline", "45 %", unmeasured("[38] is not here")),
        Claim("residual of Res18's own 5 units", NONE, at_least(DENSE, residual(5), 0.45)),
        Claim("truer explanations (F1)", "Fig. 7", above(D5, DENSE, f1, 0, 1, 2), True),
        Claim("human level understanding", NONE, unmeasured("needs people")),
    ),
    ("supplement", PLACES365): (
        _kept(INNER, TOP1),
        Claim("the same, top-5", _gain(TOP5, INNER), above(INNER, DENSE, top5, -NEGLIGIBLE)),
        Claim("units read 2 to 10 lower units", "2-10", at_least(INNER, units_read, 10, -1, "")),
        Claim("80 % of units have <= 5 concepts", "80 %", at_least(INNER, units_of_few, 0.8)),
    ),
    ("1, 2", PLACES365): (Claim("EM routing is demanding", NONE, NO_SECONDS),),
    ("4.2 by Table 1", PLACES365): (
        Claim("better when K is 25", NONE, of_the_paper(TOP1["Res18-d25a"] - TOP1[DENSE], 0)),
        Claim("better when K is 50", NONE, of_the_paper(TOP1["Res18-d50a"] - TOP1[DENSE], 0)),
        Claim("d5a: within 0.1 % of best top-1", "0.1", of_the_paper(TOP1[D5] - BEST1, -0.1)),
        Claim("d5a: within 0.4 % of best top-5", "0.4", of_the_paper(TOP5[D5] - BEST5, -0.4)),
    ),
}


def claims(runs: Sequence[Stored], planned: Sequence[Run], out: Path) -> list[ResultTable]:
    """A verdict on each sentence."""
    nets = {data: _nets(runs, data) for data in PAPERS}
    rows = [
        (f"{where}: {claim.sentence}", *_judged(claim, nets[data]))
        for (where, data), some in CLAIMS.items()
        for claim in some
    ]
    note = (
        "differences in points with the 95 % interval over seeds; open: it says neither, or one seed",
        "4.2 by Table 1: what the paper's own table says of its sentences",
    )
    title = f"Section 4 and the supplement, scale {planned[0].scale}"
    return [ResultTable("claims", title, COLUMNS, rows, note)]


def _nets(runs: Sequence[Stored], data: str) -> dict[str, list[Stored]]:
    nets: dict[str, list[Stored]] = {}
    for run in runs:
        if run["data"] == data:
            nets.setdefault(published.title(run["model"], run["method"]), []).append(run)
    return nets


def _judged(claim: Claim, nets: Nets) -> tuple[str, ...]:
    found = claim.judge(nets)
    beside = claim.judge({**nets, D5: nets.get(ISGD, ())}).here if claim.of_d5 else NONE
    return claim.paper, found.here, beside, str(found.seeds or NONE), found.verdict

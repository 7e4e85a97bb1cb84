"""Textbook surfaces and the counterexamples, as losses of one Linear layer without bias.

A surface of two weights is the loss of a layer on the inputs (1, 0) and (0, 1), whose outputs are
the weights: so optimizers that read activations run on it as they are installed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Surface:
    """A problem, and how it is looked at.

    Attributes:
        name: the title.
        inputs: x, (n, M), or (n, positions, M).
        targets: y, (n, ...).
        loss: (outputs, targets) -> loss of the samples, a scalar.
        start: W, (O, M).
        steps: of a run.
        block: K.
        batch: B, drawn with replacement; 0 for all samples.
        momentum: of SGD and of what is built on it.
        best: minimiser, for surfaces of two weights that have one.
        window: ((low, high) of w_1, of w_2) that is drawn; None draws the loss against the step.
        remark: under the title.
        largest_rate: that is tried.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    loss: Loss
    start: Tensor
    steps: int = 400
    block: int = 1
    batch: int = 0
    momentum: float = 0.0
    best: tuple[float, float] | None = None
    window: tuple[tuple[float, float], tuple[float, float]] | None = None
    remark: str = ""
    largest_rate: float = 2.0

    def value(self, W: Tensor) -> Tensor:
        """F(W)."""
        return self.loss(self.inputs @ W.T, self.targets)


def _of_weights(
    name: str,
    function: Callable[[Tensor, Tensor], Tensor],
    start: tuple[float, float],
    best: tuple[float, float],
    window: tuple[tuple[float, float], tuple[float, float]],
) -> Surface:
    """A function of two weights; K = M = 2."""
    return Surface(
        name,
        _rows([[1, 0], [0, 1]]),
        torch.zeros(2),
        lambda z, _: function(z[0, 0], z[1, 0]),
        _rows([start]),
        block=2,
        momentum=0.9,
        best=best,
        window=window,
        remark="K = M: routed is SGD, bit for bit",
        largest_rate=1.0,
    )


def _rows(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _squares(z: Tensor, y: Tensor) -> Tensor:
    return (z[..., 0] - y).square().flatten(1).sum(1).mean() / 2


def _logistic(z: Tensor, y: Tensor) -> Tensor:
    return softplus(-y * z[:, 0]).mean()


def _rastrigin(a: Tensor, b: Tensor) -> Tensor:
    waves = torch.cos(2 * torch.pi * a) + torch.cos(2 * torch.pi * b)
    return 20 + a**2 + b**2 - 10 * waves


def surfaces() -> list[Surface]:
    """All of them, in the order of the picture."""
    overlap = 1.6 * torch.eye(3, dtype=torch.float64) - 0.6
    circle = torch.stack([_rows([1, 0.6, 0, 0.6]).roll(i) for i in range(4)])
    return [
        _of_weights(
            "Rosenbrock",
            lambda a, b: (1 - a) ** 2 + 100 * (b - a**2) ** 2,
            (-1.2, 1.0),
            (1.0, 1.0),
            ((-1.7, 1.7), (-0.7, 1.9)),
        ),
        _of_weights("Rastrigin", _rastrigin, (1.7, -1.35), (0.0, 0.0), ((-2.4, 2.4), (-2.4, 2.4))),
        _of_weights(
            "quadratic, condition 1e4",
            lambda a, b: (a**2 + 1e-4 * b**2) / 2,
            (1.0, 80.0),
            (0.0, 0.0),
            ((-1.2, 1.2), (-20.0, 100.0)),
        ),
        Surface(
            "CE1",
            _rows([[[2, 0], [0, 1]], [[1, 0], [0, 2]]]),
            _rows([[2, 1], [-1, -2]]),
            _squares,
            _rows([[1.3, 1.3]]),
            batch=1,
            best=(0.6, -0.6),
            window=((-0.6, 1.6), (-1.6, 1.6)),
            remark="Algorithm 3 rests at (15, -15) / 17",
        ),
        Surface(
            "CE2",
            _rows([[1, 0], [0, 1], [2, 1]]),
            _rows([1, 1, -1]),
            _logistic,
            _rows([[0.8, 0.8]]),
            batch=1,
            best=(-0.6931, 0.6931),
            window=((-2.2, 1.4), (-0.6, 2.8)),
            remark="no weights fit; Algorithm 3 is biased",
        ),
        Surface(
            "CE3",
            circle,
            torch.tensor([0, 1, 0, 1]),
            cross_entropy,
            torch.zeros(2, 4, dtype=torch.float64),
            steps=2_000,
            block=2,
            batch=1,
            remark="separable, inputs >= 0: Algorithm 3 diverges",
        ),
        Surface(
            "CE4",
            _rows([[2, 1], [2, -1]]),
            _rows([1, -1]),
            lambda z, y: _squares(z[:, None], y[:, None]),
            _rows([[0, 0]]),
            steps=100,
            best=(0.0, 1.0),
            window=((-0.5, 0.5), (-0.2, 1.2)),
            remark="only the second weight has a slope",
            largest_rate=0.1,
        ),
        Surface(
            "CE5",
            overlap,
            torch.zeros(3, dtype=torch.int64),
            cross_entropy,
            torch.zeros(2, 3, dtype=torch.float64),
            steps=2_000,
            batch=1,
            remark="signed inputs, K = 1: one weight a class",
        ),
    ]

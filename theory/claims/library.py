"""The library through its public face: what it selects, and what `guarantee` promises.

The one room that puts judge and judged together; runs against bounds are in `theory.claims.rate_test`.
"""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from interpretable_sgd import InterpretableSGD
from theory.claim import FAILS, Check, claim
from theory.claims.dynamic_k import CLASSES, UNITS, K, routed
from theory.reference.hessians import cross_entropy, hessian_diagonal
from theory.reference.probabilities import floored, waterfill
from theory.reference.suite import ce3


def _layer(seed: int, classes: int = 4, inputs: int = 6) -> tuple[nn.Linear, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(inputs, classes, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    x = torch.randn(16, inputs, generator=generator, dtype=torch.float64)
    return layer, x, torch.randint(classes, (16,), generator=generator)


def _step(optimizer: InterpretableSGD, layer: nn.Linear, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(layer(x), y).backward()
    optimizer.step()


@claim("library-scores", "Lemma 2", "the optimizer's softmax scores are Hessian diagonals")
def scores(quick: bool, seed: int) -> Check:
    """lipschitz="softmax": probabilities are the shares of the Hessian diagonal of the batch loss."""
    layer, x, y = _layer(seed)
    optimizer = InterpretableSGD(
        layer.parameters(), lr=0.0, lipschitz="softmax", probabilities="paper", memory=0.0
    )
    _step(optimizer, layer, x, y)
    pi = next(iter(optimizer.routed_units().values())).probabilities
    exact = torch.stack(
        [
            hessian_diagonal(lambda w, a=a, b=b: cross_entropy(w @ a, int(b)), layer.weight)  # type: ignore[misc]
            for a, b in zip(x, y, strict=True)
        ]
    ).mean(0)
    gap = float((pi - exact / exact.sum()).abs().max())
    return Check(gap, 0.0, "=", 1e-10, n=exact.numel(), note=f"largest difference {gap:.1e}")


@claim(
    "library-probabilities",
    "block size",
    "the optimizer's probabilities are water-filled with a floor",
)
def probabilities(quick: bool, seed: int) -> Check:
    """lipschitz="activation": water-filling with a floor agrees with the judge's own."""
    gap, count = 0.0, 0
    for block_size in (1.0, 2.5, 4.0):
        for sparsity in (-1.0, 0.0, 0.5, 0.9):
            layer, x, y = _layer(seed)
            optimizer = InterpretableSGD(
                layer.parameters(),
                lr=0.0,
                lipschitz="activation",
                block_size=block_size,
                sparsity=sparsity,
                floor=0.1,
                shrink=0.0,
                horizon=0,
                memory=0.0,
            )
            _step(optimizer, layer, x, y)
            pi = next(iter(optimizer.routed_units().values())).probabilities[0].numpy()
            L = x.square().mean(0).numpy()
            expected = floored(waterfill(L, block_size, 1 / (1 - sparsity)), 0.1, block_size)
            gap, count = max(gap, float(np.abs(pi - expected).max())), count + 1
    return Check(gap, 0.0, "=", 1e-9, n=count, note=f"largest difference {gap:.1e}")


def _largest_z(draw: str, quick: bool, seed: int) -> Check:
    """Selected shares against probabilities, in standard errors, the largest of 24 coordinates."""
    layer, x, y = _layer(seed)
    optimizer = InterpretableSGD(
        layer.parameters(),
        lr=0.0,
        lipschitz="activation",
        block_size=2,
        floor=0.2,
        shrink=0.0,
        horizon=0,
        memory=0.0,
        draw=draw,
        seed=seed,
    )
    steps = 500 if quick else 4_000
    for _ in range(steps + 1):
        _step(optimizer, layer, x, y)
    units = next(iter(optimizer.routed_units().values()))
    # Of the first step, without constants, pi is K / M.
    expected = (units.probabilities * steps + 2 / 6) / (steps + 1)
    error = (expected * (1 - expected) / (steps + 1)).sqrt()
    z = float(((units.selected - expected) / error).abs().max())
    return Check(z, 4.1, n=24, seeds=steps, note=f"largest |z| {z:.2f} of 24 coordinates")


@claim("library-marginals", "Algorithm 3", "the optimizer's masks have their marginals")
def marginals(quick: bool, seed: int) -> Check:
    """draw="independent": coordinates are selected with their probabilities."""
    return _largest_z("independent", quick, seed)


@claim(
    "library-systematic", "Theorem A", "the optimizer's masks of fixed size have their marginals"
)
def marginals_systematic(quick: bool, seed: int) -> Check:
    """draw="systematic": the same, at a fixed number of coordinates."""
    return _largest_z("systematic", quick, seed)


@claim("library-guarantee", "section 2", "guarantee() promises what is proved")
def guarantee(quick: bool, seed: int) -> Check:
    """The theorem that each configuration is promised, against the table of docs/theory.md."""
    table: list[tuple[dict[str, object], str | None]] = [
        ({"shrink": 0.0}, "A"),
        ({}, "A with shrink"),
        ({"shrink": 0.0, "momentum": 0.9}, "F"),
        ({"momentum": 0.9}, None),
        ({"correction": "unbiased"}, "B"),
        ({"correction": "unbiased", "mask": "per-sample"}, "B"),
        ({"mask": "per-sample"}, None),
        ({"mask": "per-sample", "probabilities": "paper"}, None),
        ({"mask": "shared-current"}, None),
        ({"layers": "none"}, "A"),
    ]
    wrong = []
    for options, theorem in table:
        layer = nn.Linear(6, 4)
        promised = InterpretableSGD(layer.parameters(), lr=0.1, **options).guarantee().theorem  # type: ignore[arg-type]
        if promised != theorem:
            wrong.append(f"{options}: {promised}, not {theorem}")
    note = "; ".join(wrong) or "every configuration as in the table of section 2"
    return Check(float(len(wrong)), 0.0, "=", n=len(table), note=note)


def _ce3(quick: bool, seed: int, **options: object) -> Check:
    problem = ce3()
    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
    layer = nn.Linear(3, 2, bias=False, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    generator = torch.Generator().manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = InterpretableSGD(
            layer.parameters(),
            lr=2.0,
            lipschitz="softmax",
            probabilities="paper",
            seed=seed,
            **options,  # type: ignore[arg-type]
        )
        steps = 1_000 if quick else 4_000
        for _ in range(steps):
            index = torch.randint(3, (1,), generator=generator)
            _step(optimizer, layer, x[index], y[index])
    z = layer(x).detach()
    loss = float(nn.functional.cross_entropy(z, y))
    accuracy = float((z.argmax(1) == y).double().mean())
    note = f"loss {loss:.3g}, accuracy {accuracy:.0%} after {steps} steps from loss .693"
    return Check(loss, 0.2, n=steps, note=note)


@claim("library-faithful", "Theorem 1, CE3", "the optimizer's faithful mode solves CE3", FAILS)
def faithful(quick: bool, seed: int) -> Check:
    """mask="per-sample", probabilities="paper" is Algorithm 3: CE3 makes it diverge."""
    return _ce3(quick, seed, mask="per-sample")


@claim("library-shared", "CE3", "the optimizer's shared masks solve CE3")
def shared(quick: bool, seed: int) -> Check:
    """mask="shared" with the same probabilities solves CE3."""
    return _ce3(quick, seed)


class _RoutedLinear(nn.Linear):
    """A Dynamic-K layer in the simplest form: its output is the sum of the K largest parts."""

    def forward(self, input: Tensor) -> Tensor:
        """Y, (N, C)."""
        return routed(self.weight, input)


@claim(
    "library-dynamic-k",
    "section 3",
    "the optimizer with contribution masks is Dynamic-K",
    condition="score (W x)_+^2, s = 1 with a block size, and a routed forward",
)
def dynamic_k(quick: bool, seed: int) -> Check:
    """Contribution masks at s = 1 on a routed forward: the library's run is Dynamic-K's, 50 steps."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(32, UNITS, generator=generator, dtype=torch.float64).relu()
    y = torch.randint(CLASSES, (32,), generator=generator)
    layer = _RoutedLinear(UNITS, CLASSES, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) / UNITS**0.5)
    W = layer.weight.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = InterpretableSGD(
            layer.parameters(),
            lr=0.5,
            mask="per-sample",
            lipschitz="contribution",
            sparsity=1,
            block_size=K,
            floor=0.0,
        )
        for _ in range(50):
            _step(optimizer, layer, x, y)
            w = W.requires_grad_()
            loss = nn.functional.cross_entropy(routed(w, x), y)
            W = (w - 0.5 * torch.autograd.grad(loss, w)[0]).detach()
    gap = float((layer.weight.detach() - W).abs().max())
    return Check(gap, 0.0, "=", 1e-9, n=50, note=f"largest difference {gap:.1e}")

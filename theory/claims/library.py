"""The installed optimizer through its public face: what it selects, does, and promises.

The one room that puts judge and judged together; its runs over horizons are in
`theory.claims.rate_test` and `theory.claims.routed_rates`.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interpretable_sgd import InterpretableSGD
from theory.claim import FAILS, Check, claim
from theory.claims.settled import softmax_head
from theory.rate_test.optimizer_runs import unwarned
from theory.reference import bounds
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


def _step(optimizer: torch.optim.Optimizer, layer: nn.Linear, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(layer(x), y).backward()
    optimizer.step()


@claim(
    "library-strength",
    "Lemma 2",
    "the optimizer's strengths are the shares of the gates' Lipschitz constants",
)
def strength(quick: bool, seed: int) -> Check:
    """Of p (1 - p) (W x)_+^2, against autograd: labels drawn from p, each with its chance."""
    layer, x, _ = _layer(seed)
    optimizer = InterpretableSGD(layer.parameters(), lr=0.0, method="shared", shrink=0.0, form=0)
    classes = len(layer.weight)
    p = (x @ layer.weight.detach().T).softmax(1)
    labels = torch.arange(classes).repeat(len(x))
    # Squares of delta enter, so a label of chance p has the weight sqrt(p).
    for _ in range(2):
        z = layer(x.repeat_interleave(classes, 0))
        losses = nn.functional.cross_entropy(z, labels, reduction="none")
        optimizer.zero_grad()
        (p.flatten().sqrt() * losses).sum().backward()
        optimizer.step()
    found = next(iter(optimizer.routed_units().values())).strength
    W, ones = layer.weight.detach(), torch.ones_like(layer.weight)
    gates = [
        hessian_diagonal(lambda R, a=a: cross_entropy((R * W) @ a, 0), ones) * (W * a > 0)  # type: ignore[misc]
        for a in x
    ]
    exact = torch.stack(gates).mean(0)
    gap = float((found - exact / exact.sum(1, keepdim=True)).abs().max())
    return Check(gap, 0.0, "=", 1e-10, n=exact.numel(), note=f"largest difference {gap:.1e}")


@claim(
    "library-marginals",
    "Theorem A",
    "the optimizer's shared masks have water-filled marginals, with a floor",
)
def marginals(quick: bool, seed: int) -> Check:
    """Weights that move are selected: their shares in standard errors, the largest of 24."""
    layer, x, y = _layer(seed)
    optimizer = InterpretableSGD(
        layer.parameters(),
        lr=1e-12,
        block_size=2,
        method="shared",
        exploration=0.2,
        shrink=0.0,
        form=0,
        seed=seed,
    )
    steps = 1_000 if quick else 4_000
    moved = torch.zeros_like(layer.weight)
    _step(optimizer, layer, x, y)
    for _ in range(steps):
        before = layer.weight.detach().clone()
        _step(optimizer, layer, x, y)
        moved += layer.weight.detach() != before
    found = next(iter(optimizer.routed_units().values())).strength.numpy()
    pi = floored(waterfill(found, 2.0, 1.0), 0.2, 2.0)
    error = np.sqrt(pi * (1 - pi) / steps)
    z = float(np.abs((moved.numpy() / steps - pi) / error).max())
    return Check(z, 4.1, n=24, seeds=steps, note=f"largest |z| {z:.2f} of 24 coordinates")


@claim("library-guarantee", "all theorems", "guarantee() promises what is proved")
def guarantee(quick: bool, seed: int) -> Check:
    """The theorem that each configuration is promised, against the table of docs/theory.md."""
    shared: dict[str, Any] = {"method": "shared", "form": 0}
    table: list[tuple[dict[str, Any], bool, str | None]] = [
        ({"layers": "none"}, False, "A"),
        ({"layers": "none", "momentum": 0.9}, False, "F"),
        (shared | {"shrink": 0.0}, False, "A"),
        (shared, False, "A with shrink"),
        (shared | {"shrink": 0.0, "momentum": 0.9}, False, "F"),
        (shared | {"momentum": 0.9}, False, None),
        ({"method": "algorithm3"}, False, None),
        ({}, False, None),
        ({}, True, "H"),
        ({"momentum": 0.9}, True, "H with momentum"),
        ({"momentum": 0.9, "nesterov": True}, True, None),
    ]
    wrong = []
    for options, settles, theorem in table:
        layer, x, y = _layer(seed)
        with unwarned():
            optimizer = InterpretableSGD(layer.parameters(), lr=0.1, block_size=2, **options)
            _step(optimizer, layer, x, y)
            if settles:
                optimizer.settle()
                _step(optimizer, layer, x, y)
                _step(optimizer, layer, x, y)
        promised = optimizer.guarantee().theorem
        if promised != theorem:
            wrong.append(f"{options}: {promised}, not {theorem}")
    note = "; ".join(wrong) or "every configuration as in the table of docs/theory.md"
    return Check(float(len(wrong)), 0.0, "=", n=len(table), note=note)


@claim("library-bounds", "all theorems", "the bounds of guarantee() are the judge's, as numbers")
def right_hand_sides(quick: bool, seed: int) -> Check:
    """Theorems A, F and H at drawn constants, against `theory.reference.bounds`."""
    rng, worst, count = np.random.default_rng(seed), 0.0, 20 if quick else 200
    layer, x, y = _layer(seed)
    plain = InterpretableSGD(layer.parameters(), lr=0.1, layers="none").guarantee().bound
    heavy = InterpretableSGD(layer.parameters(), lr=0.1, momentum=0.9, layers="none")
    settling = InterpretableSGD(layer.parameters(), lr=0.1, block_size=2)
    settling.settle()
    for _ in range(3):
        _step(settling, layer, x, y)
        settling.settle()
    momentum, settled = heavy.guarantee().bound, settling.guarantee().bound
    assert plain is not None and momentum is not None and settled is not None
    for _ in range(count):
        gap, L, S, T = rng.random(), 1 + rng.random(), rng.random(), int(rng.integers(1, 1_000))
        lr, b = rng.random() / L, rng.random()
        judged = bounds.theorem_a(gap, L, lr, T, S)
        for bound in (plain, settled):
            said = bound(gap=gap, smoothness=L, lr=lr, steps=T, noise=S)
            worst = max(worst, abs(said / judged - 1))
        said = momentum(gap=gap, smoothness=L, lr=lr, steps=T, momentum=b, moment=S)
        worst = max(worst, abs(said / bounds.theorem_f(gap, L, lr, T, b, S) - 1))
    return Check(worst, 0.0, "=", 1e-12, n=count, note=f"largest relative difference {worst:.1e}")


@claim(
    "library-settled",
    "Theorem H",
    "the optimizer's settled steps are torch.optim.SGD's on the sub-network",
)
def settled(quick: bool, seed: int) -> Check:
    """Momentum .9 and decay, 30 steps routed, then both go on from the same weights and buffer."""
    worst, steps = 0.0, 100 if quick else 400
    for draw in range(3):
        head, rng = softmax_head(draw), np.random.default_rng((seed, draw))
        x, y = torch.from_numpy(head.x), torch.from_numpy(head.y)
        layer = nn.Linear(head.x.shape[1], head.outputs, bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(rng.standard_normal(layer.weight.shape)))
        common: dict[str, Any] = {"lr": 0.3, "momentum": 0.9, "weight_decay": head.decay}
        optimizer = InterpretableSGD(layer.parameters(), block_size=2, form=0, settle=30, **common)
        while optimizer.phase != "settle":
            index = torch.from_numpy(rng.integers(len(y), size=4))
            _step(optimizer, layer, x[index], y[index])
        S = next(iter(optimizer.routed_units(0.0).values())).support & (layer.weight != 0)
        weights = layer.weight.detach()[S].requires_grad_()
        sgd = torch.optim.SGD([weights], **common)
        buffer = optimizer.state[layer.weight]["momentum_buffer"]
        sgd.state[weights]["momentum_buffer"] = buffer[S].clone()
        for _ in range(steps):
            index = torch.from_numpy(rng.integers(len(y), size=4))
            _step(optimizer, layer, x[index], y[index])
            inside = torch.zeros(S.shape, dtype=torch.float64).masked_scatter(S, weights)
            sgd.zero_grad()
            nn.functional.cross_entropy(x[index] @ inside.T, y[index]).backward()
            sgd.step()
        gaps = (layer.weight[S] - weights).abs().max(), layer.weight[~S].abs().max()
        worst = max(worst, *(float(gap.detach()) for gap in gaps))
    return Check(worst, 0.0, "=", 1e-12, n=steps, note=f"largest difference {worst:.1e}")


@claim(
    "library-wide-block", "Theorem A", "with K >= M the optimizer is torch.optim.SGD, bit for bit"
)
def wide_block(quick: bool, seed: int) -> Check:
    """Momentum and decay, a rate that falls to 0, 50 steps."""
    layer, x, y = _layer(seed)
    twin, _, _ = _layer(seed)
    common: dict[str, Any] = {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.01}
    ours = InterpretableSGD(layer.parameters(), block_size=6, form=0, **common)
    sgd = torch.optim.SGD(twin.parameters(), **common)
    for time in range(50):
        for optimizer, of in ((ours, layer), (sgd, twin)):
            optimizer.param_groups[0]["lr"] = 0.3 * (1 - time / 50)
            _step(optimizer, of, x, y)
    gap = float((layer.weight - twin.weight).detach().abs().max())
    return Check(gap, 0.0, "=", n=50, note=f"largest difference {gap:g}")


def _ce3(quick: bool, seed: int, **options: Any) -> Check:
    problem = ce3()
    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
    layer = nn.Linear(3, 2, bias=False, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    generator = torch.Generator().manual_seed(seed)
    with unwarned():
        optimizer = InterpretableSGD(layer.parameters(), lr=2.0, seed=seed, **options)
        steps = 2_000 if quick else 4_000
        for _ in range(steps):
            index = torch.randint(3, (1,), generator=generator)
            _step(optimizer, layer, x[index], y[index])
    z = layer(x).detach()
    loss = float(nn.functional.cross_entropy(z, y))
    accuracy = float((z.argmax(1) == y).double().mean())
    note = f"loss {loss:.3g}, accuracy {accuracy:.0%} after {steps} steps from loss .693"
    return Check(loss if math.isfinite(loss) else math.inf, 0.2, n=steps, note=note)


@claim(
    "library-algorithm3",
    "Theorem 1, CE3",
    "the optimizer's Algorithm 3 as printed solves CE3",
    FAILS,
)
def algorithm3(quick: bool, seed: int) -> Check:
    """method="algorithm3": CE3 makes it diverge."""
    return _ce3(quick, seed, method="algorithm3")


@claim("library-shared", "CE3", "the optimizer's shared masks solve CE3")
def shared_masks(quick: bool, seed: int) -> Check:
    """method="shared", one connection of three, without shrink."""
    return _ce3(quick, seed, method="shared", block_size=1, form=0, shrink=0.0)

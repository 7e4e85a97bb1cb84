"""The oracle of the routed optimizer: loops over samples and coordinates, on Python floats.

Written from the algorithm, sharing no code with the library. One layer of O rows and M connections;
a step is handed what backward sees: inputs x_n and output gradients delta_n of its samples (or of
micro-batches, or positions, one after the other). Whoever calls is the clock: the phase of a step,
its learning rate and brake, the amount of the shrink, and when to settle.
Index legend: `n` sample, `c` output unit, `m` connection.
"""

from math import copysign, fsum, isfinite, isnan
from typing import NamedTuple

from tests.literal import Matrix, waterfilled_row


class Snapshot(NamedTuple):
    """What a step leaves."""

    weight: Matrix
    momentum: Matrix
    support: list[list[bool]]


def routes(row: list[float], x: list[float], block_size: int, magnitude: bool) -> list[bool]:
    """R_nc: the K largest products > 0, ties to the lowest index, NaN before all."""
    products = [abs(w * v) if magnitude else w * v for w, v in zip(row, x, strict=True)]
    able = [m for m, p in enumerate(products) if p > 0 or isnan(p)]
    able.sort(key=lambda m: (not isnan(products[m]), -products[m], m))
    return [m in able[:block_size] for m in range(len(row))]


class RoutedTwin:
    """SGD whose open rows learn, per sample, through K connections; closed rows keep a support.

    Args:
        weight: W, O x M. block_size: K; with M <= K every row is closed from the start.
        foresight: tau of W' = W - tau eta gbar. memory: beta of the running means.
        magnitude: rank |W' x| rather than W' x. guard: take rows for dense where `uphill`.
        observe: whether steps that form keep the means of u and of the shares, too.
    """

    def __init__(
        self,
        weight: Matrix,
        *,
        block_size: int = 5,
        foresight: float = 10.0,
        memory: float = 0.9,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        magnitude: bool = False,
        guard: bool = True,
        observe: bool = False,
    ) -> None:
        self.O, self.M, self.K = len(weight), len(weight[0]), block_size
        self.tau, self.beta, self.magnitude, self.observe = foresight, memory, magnitude, observe
        self.b, self.decay, self.guard = momentum, weight_decay, guard
        self.W, self.buffer = [list(row) for row in weight], self._zeros()
        self.gbar, self.ubar, self.share = self._zeros(), self._zeros(), self._zeros()
        self.S = [[True] * self.M for _ in range(self.O)]
        self.closed = [self.M <= self.K] * self.O

    def _zeros(self) -> Matrix:
        return [[0.0] * self.M for _ in range(self.O)]

    def _average(self, mean: Matrix, new: Matrix) -> Matrix:
        if not all(isfinite(value) for row in new for value in row):
            return mean
        b, ms = self.beta, range(self.M)
        return [[b * mean[c][m] + (1 - b) * new[c][m] for m in ms] for c in range(self.O)]

    def uphill(self, c: int) -> bool:
        """Whether the past mean step of a row went up, or is dead where there is a way down."""
        inner = fsum(u * g for u, g in zip(self.ubar[c], self.gbar[c], strict=True))
        dead = not any(self.ubar[c]) and any(g < 0 for g in self.gbar[c])
        return inner < 0 or dead

    def step(
        self,
        x: Matrix,
        delta: Matrix,
        lr: float,
        *,
        phase: str = "route",
        brake: float = 1.0,
        shrink: float = 0.0,
        settle: bool = False,
        grad: Matrix | None = None,
    ) -> Snapshot:
        """One step.

        Args:
            x, delta: inputs, N x M, and gradients of the outputs, N x O.
            lr, brake: eta is their product.
            phase: "form", plain SGD, or "route"; shrink: step of an unselected weight towards 0.
            settle: call `settle` after the update, before the shrink.
            grad: .grad where it is not sum_n delta_n x_n: clipped, unscaled, averaged.
        """
        eta, all_c, all_m = lr * brake, range(self.O), range(self.M)
        g, u, s = self._zeros(), self._zeros(), self._zeros()
        for c in all_c:
            ahead = [w - self.tau * eta * v for w, v in zip(self.W[c], self.gbar[c], strict=True)]
            for x_n, delta_n in zip(x, delta, strict=True):
                R = self.S[c] if self.closed[c] else routes(ahead, x_n, self.K, self.magnitude)
                for m in all_m:
                    g[c][m] += delta_n[c] * x_n[m]
                    u[c][m] += delta_n[c] * x_n[m] if R[m] else 0.0
                    s[c][m] += (ahead[m] * delta_n[c] * x_n[m]) ** 2 if R[m] else 0.0
        grad = g if grad is None else grad
        norm = fsum(v * v for row in g for v in row)
        f = fsum(grad[c][m] * g[c][m] for c in all_c for m in all_m) / norm if norm else 0.0
        for c in all_c:
            dense = phase == "form" or self.closed[c] or (self.guard and self.uphill(c))
            for m in all_m:
                d = grad[c][m] - (0.0 if dense else f * (g[c][m] - u[c][m]))
                d = (d if self.S[c][m] else 0.0) + self.decay * self.W[c][m]
                self.buffer[c][m] = self.b * self.buffer[c][m] + d
                self.W[c][m] -= eta * self.buffer[c][m]
        self.gbar = self._average(self.gbar, grad)
        if phase == "route" or self.observe:
            self.ubar = self._average(self.ubar, [[f * value for value in row] for row in u])
            mean = fsum(value for row in s for value in row) / (self.O * self.M)
            if mean > 0:
                self.share = self._average(self.share, [[v / mean for v in row] for row in s])
        if settle:
            self.settle()
        self._empty(shrink if phase == "route" else 0.0)
        return Snapshot(*([list(row) for row in rows] for rows in (self.W, self.buffer, self.S)))

    def settle(self) -> None:
        """Close open rows on the K largest shares; on the steepest ways down if there are none."""
        for c in (c for c in range(self.O) if not self.closed[c]):
            kept = [m for m in range(self.M) if self.share[c][m] > 0 and self.W[c][m] != 0]
            kept.sort(key=lambda m: (-self.share[c][m], -abs(self.W[c][m]), m))
            if not kept:
                down = [m for m in range(self.M) if self.gbar[c][m] < 0]
                kept, self.W[c] = sorted(down, key=self.gbar[c].__getitem__), [0.0] * self.M
            self.S[c], self.closed[c] = [m in kept[: self.K] for m in range(self.M)], True
        self._empty(0.0)

    def _empty(self, shrink: float) -> None:
        """Soft-threshold open rows by shrink (1 - pi); keep closed ones inside their supports."""
        for c, S in enumerate(self.S):
            pi = waterfilled_row(self.share[c], self.K, 0.0) if any(self.share[c]) else None
            for m, w in enumerate(self.W[c]):
                if self.closed[c]:
                    self.W[c][m], self.buffer[c][m] = (w, self.buffer[c][m]) if S[m] else (0.0, 0.0)
                elif shrink:
                    amount = shrink * (1 - (pi[m] if pi else self.K / self.M))
                    self.W[c][m] = copysign(max(0.0, abs(w) - amount), w)

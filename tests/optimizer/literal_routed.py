"""The oracle of the routed optimizer: loops over samples and coordinates, on Python floats.

Written from the algorithm, sharing no code with the library. One layer of O rows and M connections;
a step is handed what backward sees: inputs x_n and output gradients delta_n of its samples (or of
micro-batches, or positions, one after the other). Whoever calls is the clock: the phase of a step,
its learning rate and brake, how much narrows, and when to settle.
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
        shipped: where the library departs from the algorithm, depart as well: the look-ahead takes the
            rate of the step before, a row with W' = 0 is dense (where `.grad` is routed, a row of zeros
            would never be heard of), later steps of a phase weigh more in the shares, a row without any
            share settles on its largest weights rather than
            on none, no more are kept than carry `cover` of the row's shares, and what is idle fades (see
            `_narrow`).
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
        maximize: bool = False,
        magnitude: bool = False,
        guard: bool = True,
        observe: bool = False,
        shipped: bool = False,
        cover: float = 1.0,
    ) -> None:
        self.O, self.M, self.K = len(weight), len(weight[0]), block_size
        self.tau, self.beta, self.magnitude, self.observe = foresight, memory, magnitude, observe
        self.b, self.decay, self.guard, self.shipped = momentum, weight_decay, guard, shipped
        self.cover = cover
        self.sign, self.eta_before, self.progress = -1 if maximize else 1, 0.0, 0.0
        self.taken, self.since = 0, None
        self.W, self.buffer = [list(row) for row in weight], self._zeros()
        self.gbar, self.ubar, self.share = self._zeros(), self._zeros(), self._zeros()
        self.S = [[True] * self.M for _ in range(self.O)]
        self.closed = [self.M <= self.K] * self.O

    def _zeros(self) -> Matrix:
        return [[0.0] * self.M for _ in range(self.O)]

    def _average(
        self, mean: Matrix, new: Matrix, factor: float = 1.0, memory: float | None = None
    ) -> Matrix:
        if not all(isfinite(factor * value) for row in new for value in row):
            return mean
        b, ms = self.beta if memory is None else memory, range(self.M)
        return [[b * mean[c][m] + (1 - b) * factor * new[c][m] for m in ms] for c in range(self.O)]

    def ahead(self, c: int, eta: float) -> list[float]:
        """W' of a row."""
        reach = self.tau * (self.eta_before if self.shipped else eta)
        return [w - reach * v for w, v in zip(self.W[c], self.gbar[c], strict=True)]

    def uphill(self, c: int) -> bool:
        """Whether the past mean step of a row went up, or is dead where there is a way down."""
        inner = fsum(u * g for u, g in zip(self.ubar[c], self.gbar[c], strict=True))
        dead = not any(self.ubar[c]) and any(g < 0 for g in self.gbar[c])
        return inner < 0 or dead or (self.shipped and not any(self.ahead(c, 0.0)))

    def routed(
        self, x: Matrix, delta: Matrix, eta: float, phase: str
    ) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """g, u and the gate constants of a batch, and the gradient that backward leaves."""
        all_c, all_m = range(self.O), range(self.M)
        g, u, s, left = self._zeros(), self._zeros(), self._zeros(), self._zeros()
        for c in all_c:
            ahead = self.ahead(c, eta)
            for x_n, delta_n in zip(x, delta, strict=True):
                R = self.S[c] if self.closed[c] else routes(ahead, x_n, self.K, self.magnitude)
                for m in all_m:
                    g[c][m] += delta_n[c] * x_n[m]
                    u[c][m] += delta_n[c] * x_n[m] if R[m] else 0.0
                    s[c][m] += (ahead[m] * delta_n[c] * x_n[m]) ** 2 if R[m] else 0.0
            dense = phase == "form" or self.closed[c] or (self.guard and self.uphill(c))
            left[c] = [
                v if kept else 0.0
                for v, kept in zip((g if dense else u)[c], self.S[c], strict=True)
            ]
        return g, u, s, left

    def step(
        self,
        x: Matrix,
        delta: Matrix,
        lr: float,
        *,
        phase: str = "route",
        brake: float = 1.0,
        narrow: float = 0.0,
        settle: bool = False,
        grad: Matrix | None = None,
    ) -> Snapshot:
        """One step.

        Args:
            x, delta: inputs, N x M, and gradients of the outputs, N x O.
            lr, brake: eta is their product.
            phase: "form", plain SGD, or "brake" and "route". narrow: see `_narrow`.
            settle: call `settle` after the update.
            grad: .grad where it is not what backward left: clipped, unscaled, averaged, penalised.
        """
        eta, all_c, all_m = lr * brake, range(self.O), range(self.M)
        g, u, s, left = self.routed(x, delta, eta, phase)
        f = 1.0
        if grad is not None or self.shipped:
            grad = left if grad is None else grad
            norm = fsum(v * v for row in left for v in row)
            f = fsum(grad[c][m] * left[c][m] for c in all_c for m in all_m) / norm if norm else 0.0
        grad = left if grad is None else grad
        for c in all_c:
            for m in all_m:
                d = self.sign * grad[c][m] + self.decay * self.W[c][m]
                self.buffer[c][m] = self.b * self.buffer[c][m] + d
                self.W[c][m] -= eta * self.buffer[c][m]
        f *= self.sign
        if phase == "form":
            self.gbar = self._average(self.gbar, grad, self.sign)
        else:
            self.gbar = self._average(self.gbar, g, f)
        if phase != "form" or self.observe:
            self.ubar = self._average(self.ubar, u, f)
            mean = fsum(value for row in s for value in row) / (self.O * self.M)
            if mean > 0:
                self.share = self._average(self.share, s, 1 / mean, self._memory(phase))
        if settle:
            self.settle()
        self._narrow(narrow if phase == "route" else 0.0)
        self.eta_before = eta
        self.taken += 1
        return Snapshot(*([list(row) for row in rows] for rows in (self.W, self.buffer, self.S)))

    def _memory(self, phase: str) -> float:
        """Of the shares: as shipped n / (n + 2), so that step n of a phase has the weight n + 1."""
        if not self.shipped:
            return self.beta
        if phase == "route" and self.since is None:
            self.since = self.taken
        n = self.taken - (self.since or 0)
        return n / (n + 2)

    def settle(self) -> None:
        """Close open rows on the K largest shares; on the steepest ways down if there are none."""
        for c in (c for c in range(self.O) if not self.closed[c]):
            kept = [m for m in range(self.M) if self.share[c][m] > 0 and self.W[c][m] != 0]
            kept.sort(key=lambda m: (-self.share[c][m], -abs(self.W[c][m]), m))
            carried = [fsum(self.share[c][k] for k in kept[:n]) for n in range(len(kept) + 1)]
            kept = [m for n, m in enumerate(kept) if carried[n] < self.cover * carried[-1]]
            if not kept and self.shipped:
                kept = [m for m in range(self.M) if self.W[c][m] != 0]
                kept.sort(key=lambda m: (-abs(self.W[c][m]), m))
            if not kept:
                down = [m for m in range(self.M) if self.gbar[c][m] < 0]
                kept, self.W[c] = sorted(down, key=self.gbar[c].__getitem__), [0.0] * self.M
            self.S[c], self.closed[c] = [m in kept[: self.K] for m in range(self.M)], True
        self._narrow(0.0)

    def _narrow(self, amount: float) -> None:
        """Open rows lose what is idle, 1 - pi of it; closed ones keep inside their supports.

        The algorithm soft-thresholds by amount (1 - pi). As shipped, the amount is the progress of the
        phase, and in its first half, p = 2 amount, a weight fades by 1 - (1 - pi) dp / (1 - p): what is
        never selected is gone at p = 1.
        """
        if self.shipped:
            amount = min(1.0, 2 * amount)
        for c, S in enumerate(self.S):
            pi = waterfilled_row(self.share[c], self.K, 0.0) if any(self.share[c]) else None
            for m, w in enumerate(self.W[c]):
                idle = 1 - (pi[m] if pi else self.K / self.M)
                if self.closed[c]:
                    self.W[c][m], self.buffer[c][m] = (w, self.buffer[c][m]) if S[m] else (0.0, 0.0)
                elif self.shipped and self.progress >= 1:
                    pass
                elif amount and self.shipped:
                    self.W[c][m] = w * (1 - idle * (amount - self.progress) / (1 - self.progress))
                elif amount:
                    self.W[c][m] = copysign(max(0.0, abs(w) - amount * idle), w)
        self.progress = max(self.progress, amount) if self.shipped else 0.0

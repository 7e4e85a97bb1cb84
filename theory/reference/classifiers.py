"""Softmax regression: the paper's last layer as a problem of its own."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from theory.reference.problems import Array, Facts, Problem


@dataclass
class Softmax(Problem):
    """Softmax cross-entropy of W x, weights (C, M) in one row of d = C M; the paper's last layer.

    Args:
        x: (n, M).
        y: class of each sample, (n,).
        classes: C.
        ridge: >= 0.
    """

    name: str
    x: Array
    y: NDArray[np.int64]
    classes: int
    start: Array
    ridge: float = 0.0
    facts: Facts = field(default_factory=Facts)

    def __post_init__(self) -> None:
        self.n, self.d = len(self.x), self.classes * self.x.shape[1]

    def logits(self, w: Array) -> Array:
        """z_ic, (..., n, C)."""
        weights = w.reshape(*w.shape[:-1], self.classes, -1)
        return np.asarray(np.einsum("nm,...cm->...nc", self.x, weights))

    def probabilities(self, w: Array) -> Array:
        """p_ic, (..., n, C)."""
        z = self.logits(w)
        powers = np.exp(z - z.max(-1, keepdims=True))
        return np.asarray(powers / powers.sum(-1, keepdims=True))

    def losses(self, w: Array) -> Array:
        """f_i(w), (..., n)."""
        z = self.logits(w)
        z = z - z.max(-1, keepdims=True)
        chosen = np.take_along_axis(z, np.broadcast_to(self.y[:, None], (*z.shape[:-1], 1)), -1)
        cross_entropy = np.log(np.exp(z).sum(-1)) - chosen[..., 0]
        return np.asarray(cross_entropy + self.ridge * (w**2).sum(-1)[..., None] / 2)

    def gradients(self, w: Array) -> Array:
        """g_i(w), (..., n, d)."""
        delta = self.probabilities(w) - np.eye(self.classes)[self.y]
        return self._outer(delta, self.x) + self.ridge * w[..., None, :]

    def curvatures(self, w: Array) -> Array:
        """L_ij at w, (..., n, d)."""
        return self._outer(np.exp(self._log_variance(w)), self.x**2) + self.ridge

    def scores(self, w: Array) -> Array:
        """L_ij over the largest p (1 - p) of the sample: meaningful where p (1 - p) underflows."""
        if self.ridge:
            return self.curvatures(w)
        logs = self._log_variance(w)
        return self._outer(np.exp(logs - logs.max(-1, keepdims=True)), self.x**2)

    def _log_variance(self, w: Array) -> Array:
        """log(p (1 - p)), (..., n, C): 1 - p is the sum of the others, not a difference."""
        z = self.logits(w)
        z = z - z.max(-1, keepdims=True)
        rest = np.where(np.eye(self.classes) > 0, -np.inf, z[..., None, :])
        others = np.asarray(np.logaddexp.reduce(rest, axis=-1))
        return np.asarray(z + others - 2 * np.log(np.exp(z).sum(-1))[..., None])

    def accuracy(self, w: Array) -> Array:
        """Share of samples whose own class has the largest logit, (...); ties count as errors."""
        z = self.logits(w)
        own = np.take_along_axis(z, np.broadcast_to(self.y[:, None], (*z.shape[:-1], 1)), -1)
        others = np.where(np.eye(self.classes)[self.y] > 0, -np.inf, z)
        return np.asarray((own[..., 0] > others.max(-1)).mean(-1))

    def _outer(self, rows: Array, x: Array) -> Array:
        product = rows[..., :, None] * x[:, None, :]
        return product.reshape(*product.shape[:-2], self.d)

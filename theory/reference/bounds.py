"""Right-hand sides of the theorems, as functions of numbers; proofs are in docs/theory.md.

F is L-smooth, D = F(w_0) - inf F, Pi the diagonal of the selection probabilities pi_j, B the batch
size, sigma_j^2 a bound on the variance of coordinate j of one sample's gradient, |v|_Pi^2 =
sum_j pi_j v_j^2. Every bound checks the step sizes it is for.
"""

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _step(eta: float, largest: float, name: str) -> None:
    _require(0 < eta <= largest * (1 + 1e-12), f"eta must be in (0, {name}={largest}], got {eta}")


def theorem_a(D: float, L: float, eta: float, steps: int, S: float) -> float:
    """Shared masks from the past, biased: mean_t E|grad F|_Pi^2 <= 2 D / (eta T) + L eta S.

    Args:
        D: F(w_0) - inf F.
        L: of F.
        eta: constant step, at most 1 / L.
        steps: T.
        S: max_t sum_j pi_tj sigma_j^2 / B.

    >>> theorem_a(D=1.0, L=2.0, eta=0.5, steps=100, S=0.01)
    0.05
    """
    _step(eta, 1 / L, "1/L")
    return 2 * D / (eta * steps) + L * eta * S


def step_a(D: float, L: float, steps: int, S: float) -> float:
    """The step that makes Theorem A's bound smallest: min(1 / L, sqrt(2 D / (L S T)))."""
    return min(1 / L, math.sqrt(2 * D / (L * S * steps))) if S > 0 else 1 / L


def theorem_a_rate(D: float, L: float, steps: int, S: float) -> float:
    """Theorem A at `step_a`: 2 L D / T + 2 sqrt(2 L D S / T), the O(1 / sqrt T) of the paper.

    >>> 2 <= theorem_a_rate(D=1.0, L=2.0, steps=100, S=1.0) / theorem_a_rate(1.0, 2.0, 400, 1.0) <= 4
    True
    """
    return 2 * L * D / steps + 2 * math.sqrt(2 * L * D * S / steps)


def theorem_a_schedule(D: float, L: float, etas: Vector, S: float) -> float:
    """A with predictable steps eta_t <= 1 / L, the left-hand side weighted by eta_t.

    sum_t eta_t E|grad F|_Pi^2 / sum_t eta_t <= (2 D + L S sum_t eta_t^2) / sum_t eta_t.

    Args:
        D, L, S: as in `theorem_a`.
        etas: (T,).

    >>> theorem_a_schedule(1.0, 2.0, np.full(100, 0.5), 0.01) == theorem_a(1.0, 2.0, 0.5, 100, 0.01)
    True
    """
    _step(float(etas.max()), 1 / L, "1/L")
    return float((2 * D + L * S * (etas**2).sum()) / etas.sum())


def theorem_a_shrink(D: float, L: float, eta: float, steps: int, S: float, shrink: float) -> float:
    """A with soft-thresholding of what is not selected: w+ = S_a(w - eta Q g).

    mean_t E|grad F|_Pi^2 <= 2 D / (eta T) + 2 L eta S + mean_t shrink_t, for eta <= 1 / (4 L).

    Args:
        D, L, eta, steps, S: as in `theorem_a`.
        shrink: mean over the steps of `shrink_term`.
    """
    _step(eta, 1 / (4 * L), "1/(4L)")
    return 2 * D / (eta * steps) + 2 * L * eta * S + shrink


def shrink_term(L: float, eta: float, amount: Vector, pi: Vector) -> Vector:
    """2 sum_j a_j^2 (L / eta + 1 / (eta^2 pi_j)): what thresholds a_j (..., d) add to a step."""
    return np.asarray(2 * (amount**2 * (L / eta + 1 / (eta**2 * pi))).sum(-1))


def theorem_b(D: float, L: float, eta: float, steps: int, V: float, largest: float) -> float:
    """Unbiased masks, divided by pi: mean_t E|grad F|^2 <= 2 D / (eta T) + L eta V.

    Args:
        D, L, eta, steps: as in `theorem_a`.
        V: per sample, sup (1 / B) mean_i sum_j g_ij^2 / pi_ij; shared, sum_j sigma_j^2 / (B pi_j).
        largest: step allowed: 1 / L per sample, min_j pi_j / L for shared masks.
    """
    _step(eta, largest, "largest")
    return 2 * D / (eta * steps) + L * eta * V


def theorem_n(D: float, constants: Vector, eta: float, steps: int, variance: float) -> float:
    """One coordinate drawn with pi_j = L_j / Lambda, divided by pi_j; Lambda = sum_j L_j.

    mean_t E|grad F|^2 <= 2 D / (eta T) + eta Lambda sigma^2 / B for eta <= 1 / Lambda: Theorem 1
    with L = sum_j L_j where it belongs.

    Args:
        D, eta, steps: as in `theorem_a`.
        constants: L_j >= the Lipschitz constants of the partial derivatives, (d,).
        variance: sum_j sigma_j^2 / B.
    """
    total = float(constants.sum())
    _step(eta, 1 / total, "1/Lambda")
    return 2 * D / (eta * steps) + eta * total * variance


def theorem_c(D: float, L: float, eta: float, steps: int, bias: float, V: float) -> float:
    """Masks per sample or from the same batch, biased; pibar = mean_i pi_i.

    mean_t E|grad F|_pibar^2 <= 2 D / (eta T) + mean_t E|C|^2_(1/pibar) + L eta V.

    Args:
        D, L, eta, steps: as in `theorem_a`.
        bias: mean_t E sum_j C_j^2 / pibar_j, C_j = Cov_i(pi_ij, g_ij).
        V: sup of E|u - E u|^2 for the masked batch gradient u.
    """
    _step(eta, 1 / L, "1/L")
    return 2 * D / (eta * steps) + bias + L * eta * V


def worst_bias(pi: Vector) -> Vector:
    """Largest (d_j F)^2 / mean_i g_ij^2 at a zero of the mean step: CV_j^2 / (1 + CV_j^2).

    Args:
        pi: pi_ij, (n, d); CV_j is their standard deviation over their mean.
    """
    squared = pi.var(0) / pi.mean(0) ** 2
    return np.asarray(squared / (1 + squared))


def theorem_c_sharp(D: float, L: float, eta: float, steps: int, V: float, theta: float) -> float:
    """Theorem C where mean_i g_ij^2 <= rho_j (d_j F)^2: [2 D / (eta T) + L eta V] / (1 - theta).

    Args:
        D, L, eta, steps, V: as in `theorem_c`.
        theta: max_j CV_j^2 (rho_j - 1), which must be below 1.
    """
    _step(eta, 1 / L, "1/L")
    _require(theta < 1, f"theta must be below 1, got {theta}")
    return (2 * D / (eta * steps) + L * eta * V) / (1 - theta)


def theorem_i(F0: float, L: float, steps: Vector, slope: Vector, shrink: Vector) -> float:
    """What a prefix can do whose mean step never points uphill: E F(w_T) <= this.

    F(w_0) + L sum_t eta_t^2 E|u_t|^2 + sum_t (|grad F|_inf |a_t|_1 + L |a_t|_2^2), momentum 0.

    Args:
        F0, L: F(w_0), and the Lipschitz constant of its gradient.
        steps: E|eta_t u_t|^2, (T,).
        slope: E|grad F(w_t)|_inf, (T,).
        shrink: what thresholds take off a weight, (T, d).
    """
    least = np.abs(shrink).sum(-1), (shrink**2).sum(-1)
    return float(F0 + L * steps.sum() + (slope * least[0] + L * least[1]).sum())


def cut_jump(W: Vector, slope: Vector, x: Vector, h: Vector, cut: Vector) -> float:
    """By how much F can grow when connections are set to 0, to second order: rows of W alone.

    J <= -sum_C W_cm d_cm F + sum_c |C_c| sum_(m in C_c) mean_i h_ic (W_cm x_im)^2, as the Hessian
    in the logits, diag p - pp', is below 2 diag p (1 - p). The last sums are gate constants.

    Args:
        W, slope: weights and the derivatives of the loss, (O, M).
        x, h: inputs (n, M), p (1 - p) of the outputs (n, O).
        cut: C, 1 where a connection is cut, (O, M).
    """
    gates = (h[:, :, None] * (W * x[:, None, :]) ** 2).mean(0)
    return float((cut * (cut.sum(1, keepdims=True) * gates - W * slope)).sum())


def decaying_step(L: float, mu: float, time: int) -> float:
    """eta_t = 2 / (mu (t + t_0)), t_0 = 2 L / mu, of Theorem D."""
    return 2 / (mu * (time + 2 * L / mu))


def theorem_d(D: float, L: float, mu: float, S: float, time: int) -> float:
    """O(1 / t) under |grad F|_Pi^2 >= 2 mu (F - F*), with `decaying_step`; S as in `theorem_a`.

    E F(w_t) - F* <= max(t_0 D, 2 L S / mu^2) / (t + t_0), t_0 = 2 L / mu.
    """
    t0 = 2 * L / mu
    return max(t0 * D, 2 * L * S / mu**2) / (time + t0)


def theorem_d_constant(D: float, L: float, mu: float, eta: float, S: float, time: int) -> float:
    """Linear convergence to a floor: (1 - eta mu)^t D + L eta S / (2 mu), eta <= 1 / L."""
    _step(eta, 1 / L, "1/L")
    contraction: float = (1 - eta * mu) ** time
    return contraction * D + L * eta * S / (2 * mu)


def theorem_d_convex(R2: float, eta: float, L: float, steps: int, variance: float) -> float:
    """Convex F, fixed Pi: F(mean iterate) - F* <= R^2 / (eta T) + eta sigma^2, eta <= 1 / (2 L).

    Args:
        R2: |w_0 - w*|^2 weighted by 1 / pi.
        eta, L, steps: as in `theorem_a`.
        variance: sum_j sigma_j^2 / B.
    """
    _step(eta, 1 / (2 * L), "1/(2L)")
    return R2 / (eta * steps) + eta * variance


def theorem_d_noiseless(R2: float, eta: float, L: float, steps: int) -> float:
    """Convex F, fixed Pi, full batch: last iterate F(w_T) - F* <= R^2 / (2 eta T), eta <= 1 / L."""
    _step(eta, 1 / L, "1/L")
    return R2 / (2 * eta * steps)


def theorem_d_unbiased(eta: float, L: float, mu: float, pi_min: float) -> float:
    """Contraction of E|w - w*|^2 by unbiased masks without noise: 1 - 2 eta mu L / (mu + L)."""
    _step(eta, 2 * pi_min / (L + mu), "2 pi_min/(L+mu)")
    return 1 - 2 * eta * mu * L / (mu + L)


def theorem_e_greedy(D: float, L: float, size: int, kept: int, steps: int) -> float:
    """Top-K of |grad F|, full batch, eta = 1 / L: min_t |grad F|^2 <= 2 L D d / (K T)."""
    return 2 * L * D * size / (kept * steps)


def theorem_f(D: float, L: float, eta: float, steps: int, momentum: float, G2: float) -> float:
    """Momentum m = b m + u, w -= eta m, with shared masks from the past and E|u|^2 <= G^2.

    mean_t E|grad F|_Pi^2 <= 2 (1 - b) D / (eta T) + L eta G^2 / (1 - b)
    + (L b eta)^2 G^2 / (1 - b)^4.
    """
    _require(0 <= momentum < 1, f"momentum must be in [0, 1), got {momentum}")
    rest = 1 - momentum
    drift = (L * momentum * eta) ** 2 * G2 / rest**4
    return 2 * rest * D / (eta * steps) + L * eta * G2 / rest + drift


def independent_smoothness(M: Vector, pi: Vector) -> float:
    """What may replace L in Theorem A for independent coordinates, F with Hessians below M.

    max_j v_j, v_j = lambda_max(Pi^1/2 M Pi^1/2) + (1 - pi_j) M_jj, the ESO refinement.
    """
    root = np.sqrt(pi)
    top = float(np.linalg.eigvalsh(root[:, None] * M * root)[-1])
    return float((top + (1 - pi) * np.diag(M)).max())


def top_k_distance(size: int, kept: int, ratio: float, gamma: float) -> float:
    """sum_j |pi_j - 1(j in top K)| <= 2 (d - K) r^gamma, r = L_(K+1) / L_(K), for water-filling."""
    power: float = ratio**gamma
    return 2 * (size - kept) * power


def literal_size(constants: Vector, gamma: float) -> float:
    """Expected block of Algorithm 3 as printed: exp((1 - gamma) H_gamma(L / sum L)), Renyi entropy."""
    rho = constants[constants > 0] / constants.sum()
    if gamma == 1:
        return 1.0
    entropy = np.log((rho**gamma).sum()) / (1 - gamma)
    return float(np.exp((1 - gamma) * entropy))


def spread(constants: Vector, gamma: float) -> float:
    """phi(gamma) = (sum L^gamma)(sum L^(1 - gamma)): K times the variance of unbiased masks."""
    return float((constants**gamma).sum() * (constants ** (1 - gamma)).sum())


def popoviciu(J: Vector) -> Vector:
    """Var_p(J_kc) <= (max_k J_kc - min_k J_kc)^2 / 4, for J = dz/ds of shape (..., C, units)."""
    return np.asarray((J.max(-2) - J.min(-2)) ** 2 / 4)

"""Right-hand sides of the convergence theorems, as functions of numbers that can be measured.

The notation of the theorems, and the names of the arguments:

- `gap`: D = F(w_0) - inf F, or from the step T_0 on where the theorem says so;
- `smoothness`: L, a Lipschitz constant of grad F;
- `lr`: eta, the step size; a sequence of them where the theorem allows a schedule;
- `steps`: T, or N = T - T_0 after the supports are settled;
- `noise`: sum_j pi_j sigma_j^2 / B, the variance of the step's direction: sigma_j^2 bounds the
  variance of coordinate j of one sample's gradient, B is the batch size;
- `moment`: G^2, a bound on E|u_t|^2 for the direction u_t of a step;
- `momentum`: b in m = b m + u, w -= eta m.

|v|^2_Pi = sum_j pi_j v_j^2, and grad_S is the gradient in the connections of a support S and in all
parameters that are not routed. Every function refuses the step sizes that its theorem is not for.
Proofs are in docs/theory.md, which judges these theorems with code of its own.
"""

import math
from collections.abc import Sequence


def theorem_a(gap: float, smoothness: float, lr: float, steps: int, noise: float) -> float:
    """One mask for the batch, drawn from the past: mean_t E|grad F|^2_Pi <= 2 D/(eta T) + L eta S.

    With every pi_j = 1 this is torch.optim.SGD.

    Args:
        gap, smoothness, lr, steps: D, L, eta <= 1 / L constant, T.
        noise: S = max_t sum_j pi_tj sigma_j^2 / B.

    >>> theorem_a(gap=1.0, smoothness=2.0, lr=0.5, steps=100, noise=0.01)
    0.05
    """
    _check(gap=gap, smoothness=smoothness, steps=steps, noise=noise)
    _check_step(lr, 1 / smoothness, "1 / L")
    return 2 * gap / (lr * steps) + smoothness * lr * noise


def theorem_a_best(gap: float, smoothness: float, steps: int, noise: float) -> float:
    """Theorem A at its best constant step: 2 L D / T + 2 sqrt(2 L D S / T), the O(1 / sqrt T).

    The step is eta = min(1 / L, sqrt(2 D / (L S T))), see `best_step`.

    >>> theorem_a_best(gap=1.0, smoothness=1.0, steps=100, noise=0.5)
    0.22
    """
    _check(gap=gap, smoothness=smoothness, steps=steps, noise=noise)
    first = 2 * smoothness * gap / steps
    return first + 2 * math.sqrt(2 * smoothness * gap * noise / steps)


def best_step(gap: float, smoothness: float, steps: int, noise: float) -> float:
    """The constant step that makes Theorem A's right-hand side smallest.

    >>> best_step(gap=1.0, smoothness=1.0, steps=100, noise=0.5)
    0.2
    """
    _check(gap=gap, smoothness=smoothness, steps=steps, noise=noise)
    largest = 1 / smoothness
    return min(largest, math.sqrt(2 * gap / (smoothness * noise * steps))) if noise else largest


def theorem_a_shrink(
    gap: float, smoothness: float, lr: float, steps: int, noise: float, shrink: float
) -> float:
    """Theorem A with soft-thresholding: 2 D / (eta T) + 2 L eta S + mean_t shrink_t.

    Args:
        gap, smoothness, lr, steps, noise: as in `theorem_a`, but eta <= 1 / (4 L).
        shrink: mean over the steps of 2 sum_j a_tj^2 (L / eta + 1 / (eta^2 pi_tj)), a_tj the
            amount by which coordinate j is thresholded.
    """
    _check(gap=gap, smoothness=smoothness, steps=steps, noise=noise, shrink=shrink)
    _check_step(lr, 1 / (4 * smoothness), "1 / (4 L)")
    return 2 * gap / (lr * steps) + 2 * smoothness * lr * noise + shrink


def theorem_b(
    gap: float,
    smoothness: float,
    lr: float,
    steps: int,
    second_moment: float,
    *,
    least_probability: float = 1.0,
) -> float:
    """Masks divided by their probability: mean_t E|grad F|^2 <= 2 D / (eta T) + L eta V.

    Args:
        gap, smoothness, lr, steps: D, L, eta, T; eta <= least_probability / L.
        second_moment: V, for masks per sample sup (1 / B) mean_i sum_j g_ij^2 / pi_ij, for one
            mask of the batch sum_j sigma_j^2 / (B pi_j).
        least_probability: min_j pi_j in (0, 1] for one mask of the batch; 1 for masks per sample.
    """
    _check(gap=gap, smoothness=smoothness, steps=steps, second_moment=second_moment)
    if not 0 < least_probability <= 1:
        raise ValueError(f"least_probability must be in (0, 1], got {least_probability}")
    _check_step(lr, least_probability / smoothness, "least_probability / L")
    return 2 * gap / (lr * steps) + smoothness * lr * second_moment


def theorem_c(
    gap: float, smoothness: float, lr: float, steps: int, noise: float, bias: float
) -> float:
    """Masks of the batch or sample that they mask: 2 D / (eta T) + mean_t E|C|^2_(1/pi) + L eta V.

    It bounds mean_t E|grad F|^2_pi, pi the mean over samples of the probabilities.

    Args:
        gap, smoothness, lr, steps: D, L, eta <= 1 / L, T.
        noise: V >= E|u - E u|^2.
        bias: mean_t E sum_j C_j^2 / pi_j, C_j = Cov_i(pi_ij, g_ij).
    """
    _check(bias=bias)
    return theorem_a(gap, smoothness, lr, steps, noise) + bias


def theorem_c_prime(
    gap: float,
    smoothness: float,
    lr: float,
    steps: int,
    noise: float,
    bias: float,
    *,
    jumps: float = 0.0,
    ratio: float = 0.0,
) -> float:
    """Rows still routed per sample: [2 (D + sum J) / (eta T) + bias + L eta V] / (1 - zeta).

    It bounds mean_t E|grad_S F|^2, S any set that holds the support of the step's direction u.

    Args:
        gap, smoothness, lr, steps: D, L, eta <= 1 / L, T; no momentum.
        noise: V >= E|u - h|^2, h = E[u | past].
        bias: mean_t E|D_t|^2, D_t = grad_S F - h the gradient of connections that are active but
            not routed; with `ratio`, only its part eps^2.
        jumps: sum of F after - F before, over the cuts of supports.
        ratio: zeta in [0, 1) with |D_t|^2 <= zeta |grad_S F|^2 + eps^2.
    """
    _check(bias=bias, jumps=jumps)
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio must be in [0, 1), got {ratio}")
    return (theorem_a(gap + jumps, smoothness, lr, steps, noise) + bias) / (1 - ratio)


def theorem_d(gap: float, smoothness: float, curvature: float, noise: float, step: int) -> float:
    """O(1 / t) where |grad F|^2_Pi >= 2 mu (F - inf F): E F(w_t) - inf F, with `decaying_step`.

    It is max(t_0 D, 2 L S / mu^2) / (t + t_0), t_0 = 2 L / mu.

    Args:
        gap, smoothness: D, L.
        curvature: mu, at most L.
        noise: S, as in `theorem_a`.
        step: t >= 0.
    """
    _check(gap=gap, smoothness=smoothness, curvature=curvature, noise=noise)
    if step < 0:
        raise ValueError(f"step must be at least 0, got {step}")
    delay = 2 * smoothness / curvature
    return max(delay * gap, 2 * smoothness * noise / curvature**2) / (step + delay)


def decaying_step(smoothness: float, curvature: float, step: int) -> float:
    """eta_t = 2 / (mu (t + t_0)), t_0 = 2 L / mu, of `theorem_d`.

    >>> decaying_step(smoothness=2.0, curvature=1.0, step=0)
    0.5
    """
    _check(smoothness=smoothness, curvature=curvature)
    return 2 / (curvature * (step + 2 * smoothness / curvature))


def theorem_e(gap: float, smoothness: float, steps: int, kept: int = 1, size: int = 1) -> float:
    """Full batch, eta = 1 / L: 2 L D / T, and for the K largest |gradients| of M, 2 L D M / (K T).

    It bounds mean_t |grad F|^2, with K < M its minimum over t only.

    >>> theorem_e(gap=1.0, smoothness=1.0, steps=100), theorem_e(1.0, 1.0, 100, kept=5, size=50)
    (0.02, 0.2)
    """
    _check(gap=gap, smoothness=smoothness, steps=steps)
    if not 1 <= kept <= size:
        raise ValueError(f"kept must be in [1, size={size}], got {kept}")
    return 2 * smoothness * gap * size / (kept * steps)


def theorem_f(
    gap: float, smoothness: float, lr: float, steps: int, moment: float, momentum: float
) -> float:
    """Momentum with one mask for the batch: mean_t E|grad F|^2_Pi is at most

    2 (1 - b) D / (eta T) + L eta G^2 / (1 - b) + (L b eta)^2 G^2 / (1 - b)^4.

    Args:
        gap, smoothness, lr, steps: D, L, eta > 0 constant, T. No step is too large for it.
        moment: G^2 >= E|u_t|^2.
        momentum: b in [0, 1).
    """
    _check(gap=gap, smoothness=smoothness, steps=steps, moment=moment)
    _check_step(lr, math.inf, "inf")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")
    rest = 1 - momentum
    drift = (smoothness * momentum * lr) ** 2 * moment / rest**4
    return 2 * rest * gap / (lr * steps) + smoothness * lr * moment / rest + drift


def theorem_h(gap: float, smoothness: float, lr: float, steps: int, noise: float) -> float:
    """Settled supports: the N steps since T_0 have mean E|grad_S F|^2 <= 2 D / (eta N) + L eta S.

    From T_0 on the iterates are those of torch.optim.SGD on the network that is left.

    Args:
        gap: D = E F(w_T0) - inf F on the support, after the cut.
        smoothness, lr, steps: L, eta <= 1 / L constant, N = T - T_0.
        noise: sum of sigma_j^2 / B over the support and the parameters that are not routed.
    """
    return theorem_a(gap, smoothness, lr, steps, noise)


def theorem_h_schedule(gap: float, smoothness: float, lrs: Sequence[float], noise: float) -> float:
    """Theorem H under a schedule: (2 D + L S sum eta_t^2) / sum eta_t.

    It bounds sum_t eta_t E|grad_S F|^2 / sum_t eta_t. No momentum.

    Args:
        gap, smoothness, noise: as in `theorem_h`.
        lrs: eta_t >= 0 of the N steps since T_0, each at most 1 / L, not all 0.

    >>> theorem_h_schedule(1.0, 2.0, [0.5] * 100, 0.01) == theorem_h(1.0, 2.0, 0.5, 100, 0.01)
    True
    """
    _check(gap=gap, smoothness=smoothness, noise=noise)
    total = math.fsum(lrs)
    if not total > 0 or min(lrs) < 0:
        raise ValueError("lrs must be at least 0, and one of them positive")
    _check_step(max(lrs), 1 / smoothness, "1 / L")
    return (2 * gap + smoothness * noise * math.fsum(lr**2 for lr in lrs)) / total


def theorem_h_momentum(
    gap: float, smoothness: float, lr: float, steps: int, moment: float, momentum: float
) -> float:
    """Theorem H with momentum and a constant step: `theorem_f` on the network that is left.

    Args:
        gap: E F(z) - inf F on the support at z = w_T0 - eta b / (1 - b) m, m the buffer after
            the cut; F(w_T0) - inf F where the buffer is reset.
        smoothness, lr, steps, momentum: L, eta, N, b.
        moment: G^2 >= E|u_t|^2 on the support, and E|m|^2 <= G^2 / (1 - b)^2 at T_0.
    """
    return theorem_f(gap, smoothness, lr, steps, moment, momentum)


def theorem_i(
    value: float,
    smoothness: float,
    lrs: Sequence[float],
    moment: float,
    *,
    shrink: float = 0.0,
    jump: float = 0.0,
) -> float:
    """What F(w_T0) may have grown to while routing does not ascend in the mean.

    E F(w_T0) <= F(w_0) + L sum_t eta_t^2 G^2 + shrink + J where <E u_t, grad F> >= 0 for t < T_0,
    without momentum. Its premise is what the optimizer's guard estimates, from running means.

    Args:
        value: F(w_0).
        smoothness: L.
        lrs: eta_t >= 0 of the T_0 steps.
        moment: G^2 >= E|u_t|^2.
        shrink: sum_t |grad F|_inf |a_t|_1 + L |a_t|^2, a_t the amounts of the shrink.
        jump: J = F after - F before the cut.
    """
    _check(smoothness=smoothness, moment=moment, shrink=shrink)
    return value + smoothness * moment * math.fsum(lr**2 for lr in lrs) + shrink + jump


def whole_run(prefix: int, steps: int, prefix_bound: float, rest_bound: float) -> float:
    """A mean over all T steps from its parts: (T_0 / T) bound before T_0 + (1 - T_0 / T) after.

    With T_0 fixed and any finite bound G^2 on |grad F|^2 before it, the whole run keeps the
    O(1 / sqrt T) of Theorem H.

    >>> whole_run(prefix=100, steps=400, prefix_bound=2.0, rest_bound=0.1)
    0.575
    """
    if not 0 <= prefix <= steps or steps < 1:
        raise ValueError(f"prefix must be in [0, steps={steps}], got {prefix}")
    return (prefix * prefix_bound + (steps - prefix) * rest_bound) / steps


def theorem_n(gap: float, constants: Sequence[float], lr: float, steps: int, noise: float) -> float:
    """One coordinate a step, drawn with pi_j = L_j / Lambda and divided by it: the paper's rate.

    mean_t E|grad F|^2 <= 2 D / (eta T) + eta Lambda sigma^2 / B for eta <= 1 / Lambda.

    Args:
        gap, lr, steps: D, eta, T.
        constants: L_j > 0 of the partial derivatives; Lambda is their sum.
        noise: sum_j sigma_j^2 / B.
    """
    if not len(constants) or not min(constants) > 0:
        raise ValueError(f"constants must be positive, got {list(constants)}")
    return theorem_a(gap, math.fsum(constants), lr, steps, noise)


def poisson_noise(second_moment: float, batch_size: float, size: int) -> float:
    """sum_j Var(u_j) of a batch of `PoissonBatchSampler`: (1 - B / n) / B * mean_i sum_j g_ij^2.

    The sum of a batch's gradients over B is independent of the past and has mean grad F, which is
    all that the theorems ask of a batch; its variance is bounded by second moments, not by
    variances as with replacement, because the batch's size varies.

    Args:
        second_moment: mean_i sum_j pi_j g_ij^2, of all n samples.
        batch_size: B in (0, n].
        size: n.

    >>> poisson_noise(second_moment=2.0, batch_size=10, size=100)
    0.18
    """
    _check(second_moment=second_moment)
    if not 0 < batch_size <= size:
        raise ValueError(f"batch_size must be in (0, size={size}], got {batch_size}")
    return (1 - batch_size / size) / batch_size * second_moment


_POSITIVE = {"smoothness", "curvature", "steps"}


def _check(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 if name in _POSITIVE else value >= 0):
            allowed = "positive" if name in _POSITIVE else "at least 0"
            raise ValueError(f"{name} must be {allowed}, got {value}")


def _check_step(lr: float, largest: float, name: str) -> None:
    # Rounding of 1 / L must not turn down eta = 1 / L.
    if not 0 < lr <= largest * (1 + 1e-12):
        raise ValueError(f"lr must be in (0, {name} = {largest:g}], got {lr}")

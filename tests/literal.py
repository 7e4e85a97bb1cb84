"""The oracle: Algorithm 3 with loops over samples and coordinates, on Python floats (float64).

Written from the paper and the method page, sharing no code with the library. Index legend: `i`
sample, `c` output unit, `m` connection (channel and kernel offset), `u` output position.
A layer is what its units see, connections[c][m][u]; a Linear layer has one position.

Constants: L_icm = sum_u h_icu x_imu^2.
Step: W <- W - eta (1 / B) sum_i q_i * g_i, g_icm = sum_u delta_icu x_imu, q_icm ~ B(pi_icm).
The draws come in as uniform numbers: q_icm = 1 where uniform_icm < pi_icm.
"""

import itertools
import math

Matrix = list[list[float]]


def paper_probabilities(constants: Matrix, sparsity: float) -> Matrix:
    """(L_cm / L)^(1 / (1 - s)), L the sum over all O x M coordinates of the layer."""
    total = math.fsum(itertools.chain(*constants))
    power = 1 / (1 - sparsity)
    return [[(L / total) ** power if total else 0.0 for L in row] for row in constants]


def waterfilled_row(row: list[float], block_size: float, sparsity: float) -> list[float]:
    """min(1, kappa L_m^gamma) summing to K: cap what is over 1 and share the rest again."""
    positive = [m for m, L in enumerate(row) if L > 0]
    if len(positive) <= block_size:
        return [float(L > 0) for L in row]
    if sparsity == 1:
        return top_row(row, block_size)
    pi = [0.0] * len(row)
    free, left = positive, block_size
    while free:
        largest = max(row[m] for m in free)
        powers = {m: (row[m] / largest) ** (1 / (1 - sparsity)) for m in free}
        kappa = left / math.fsum(powers.values())
        over = [m for m in free if kappa * powers[m] > 1]
        for m in free:
            pi[m] = min(1.0, kappa * powers[m])
        if not over:
            break
        free, left = [m for m in free if m not in over], left - len(over)
    return pi


def top_row(row: list[float], block_size: float) -> list[float]:
    """Exact top-K: give 1 to the largest while K lasts; equal constants share equally."""
    pi, left = [0.0] * len(row), block_size
    for value in sorted(set(row), reverse=True):
        tied = [m for m, L in enumerate(row) if value == L]
        for m in tied:
            pi[m] = min(1.0, max(0.0, left) / len(tied)) if value > 0 else 0.0
        left -= len(tied)
    return pi


def constants(connections: list[Matrix], h: Matrix) -> Matrix:
    """L_cm of one sample; connections[c][m][u], h[c][u]."""
    return [
        [math.fsum(h_u * x**2 for h_u, x in zip(h_c, x_m, strict=True)) for x_m in x_c]
        for x_c, h_c in zip(connections, h, strict=True)
    ]


def masked_gradient(
    weight: Matrix,
    connections: list[list[Matrix]],
    h: list[Matrix],
    delta: list[Matrix],
    uniform: list[Matrix],
    *,
    sparsity: float,
) -> tuple[Matrix, list[Matrix]]:
    """sum_i q_i * g_i, and pi_icm; lists over samples, delta[i][c][u]."""
    total = [[0.0] * len(row) for row in weight]
    all_pi = []
    for x_i, h_i, delta_i, uniform_i in zip(connections, h, delta, uniform, strict=True):
        pi = paper_probabilities(constants(x_i, h_i), sparsity)
        all_pi.append(pi)
        for c, m in itertools.product(range(len(weight)), range(len(weight[0]))):
            if uniform_i[c][m] < pi[c][m]:
                total[c][m] += math.fsum(d * x for d, x in zip(delta_i[c], x_i[c][m], strict=True))
    return total, all_pi

"""A budget of units for a whole layer: few enough to learn, from which every row takes its own.

Index legend: `c` output unit, `m` input connection.
"""

import torch
from torch import Tensor


def pool_of(gates: Tensor, weight: Tensor, k: int, size: int) -> Tensor:
    r"""The units that all rows together can least do without, at most `size`, boolean, (M,).

    .. math:: \max_{|P| \le B} \sum_c \sum_{\text{K largest } m \in P} G_{cm} / \textstyle\sum_j G_{cj}

    Greedy: the next unit is the one that adds most, in place of the smallest of the K that a row has so
    far. The objective is monotone and submodular, so it comes to at least 1 - 1/e of the best there is
    (Nemhauser, Wolsey and Fisher, Math. Programming 14, 1978). Rows count alike, whatever their loss. Ties go
    to the lower index.

    Args:
        gates: running means of the gates' constants, (O, M). A row without any goes by its |W|.
        weight: W, (O, M); a connection of weight 0 is worth nothing.
        k: connections that a row keeps at most.
        size: B, units of the pool, at least 1.

    >>> G = torch.tensor([[3.0, 2.0, 0.0], [0.0, 2.0, 3.0]])
    >>> pool_of(G, torch.ones(2, 3), k=1, size=1)
    tensor([False,  True, False])
    >>> pool_of(G, torch.ones(2, 3), k=1, size=2)
    tensor([ True,  True, False])
    """
    worth = torch.where(weight != 0, gates, 0)
    worth = torch.where(worth.any(1, keepdim=True), worth, weight.abs().to(worth))
    share = worth / worth.sum(1, keepdim=True).clamp(min=torch.finfo(worth.dtype).tiny)
    pool = torch.zeros_like(share[0], dtype=torch.bool)
    # the K largest shares of each row in the pool, ascending
    held = share.new_zeros(len(share), k)
    for _ in range(min(size, len(pool))):
        gain = (share - held[:, :1]).clamp(min=0).sum(0)
        unit = gain.masked_fill(pool, -1).argmax()
        pool[unit] = True
        held = torch.cat([held, share[:, unit, None]], 1).sort(1).values[:, 1:]
    return pool

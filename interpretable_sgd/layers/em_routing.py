r"""Algorithm 1, simplified EM routing: what Algorithm 2 is to be compared with.

Index legend: ``o`` output unit, ``m`` input unit, ``d`` entry of a capsule; ``...`` any leading
shape.

Each input votes for each output; an output is the mean of the votes it is responsible for, and is
responsible for those near its mean (Sabour et al. 2017, Hinton et al. 2018):

.. math::
    Y_o = \frac{\sum_m R_{om} V_{om}}{\sum_m R_{om}}, \qquad
    \sigma^2_o = \frac{\sum_m R_{om} (V_{om} - Y_o)^2}{\sum_m R_{om}}, \qquad
    R_{om} = \frac{N(V_{om}; Y_o, \sigma^2_o)}{\sum_{o'} N(V_{o'm}; Y_{o'}, \sigma^2_{o'})}

The paper leaves the update open ("a complicated distance function with modified kernel"): this is
the E-step of a mixture of diagonal Gaussians with equal weights. Every iteration reads and writes
all votes, ... x o x m x d of them, which is the cost that Algorithm 2 avoids.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

VARIANCE_FLOOR = 1e-4  # relative to the spread of all votes for the output


class Clusters(NamedTuple):
    """What EM routing settles on.

    Attributes:
        means: outputs, [..., o, d].
        responsibilities: R, [..., o, m]; each input's sum to 1 over outputs.
    """

    means: Tensor
    responsibilities: Tensor


def em_routing(votes: Tensor, iterations: int = 3) -> Clusters:
    """Cluster the votes for each output, differentiably.

    Args:
        votes: V, [..., o, m, d].
        iterations: rounds of mean and responsibilities, at least 1; the paper takes 3.

    Returns:
        Means and the responsibilities that they were computed with.

    Raises:
        ValueError: iterations is below 1.

    >>> votes = torch.tensor([[1.0, 1.0, 7.0], [4.0, 0.0, 8.0]])[..., None]
    >>> em_routing(votes, iterations=1).means.flatten()  # the plain means
    tensor([3., 4.])
    """
    _check_iterations(iterations)
    responsibilities = votes.new_full(votes.shape[:-1], 1 / votes.shape[-3])
    means, variances = _gaussians(votes, responsibilities)
    for _ in range(iterations - 1):
        distances = (votes - means.unsqueeze(-2)) ** 2 / variances.unsqueeze(-2)
        log_density = -0.5 * (distances + variances.log().unsqueeze(-2)).sum(-1)
        responsibilities = log_density.softmax(dim=-2)
        means, variances = _gaussians(votes, responsibilities)
    return Clusters(means, responsibilities)


class EMRoutingLinear(nn.Module):
    """A layer whose outputs are means of the votes that agree, by EM routing.

    With scalar units it takes the place of nn.Linear, under the same state dict. With capsules,
    every input unit is a vector and votes by a matrix: V_om = W_om x_m.

    A mean of m votes is about sqrt(m) times smaller than a sum; weights start sqrt(m) *
    sqrt(in_dim) larger than those of nn.Linear, so that outputs start at its scale.

    Args:
        in_features: number of input units, m.
        out_features: number of output units, o.
        bias: add a bias to the means.
        capsule: (in_dim, out_dim), the lengths of input and output vectors; None for scalar units.
        iterations: rounds of routing, at least 1.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        Input [..., m], output [..., o]; with capsules [..., m, in_dim] and [..., o, out_dim].

    Raises:
        ValueError: iterations is below 1, a capsule length is not positive, or inputs have another
            shape.

    >>> EMRoutingLinear(32, 10)(torch.rand(4, 32)).shape
    torch.Size([4, 10])
    >>> EMRoutingLinear(32, 10, capsule=(8, 16))(torch.rand(4, 32, 8)).shape
    torch.Size([4, 10, 16])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        capsule: tuple[int, int] | None = None,
        iterations: int = 3,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_iterations(iterations)
        if capsule is not None and min(capsule) < 1:
            raise ValueError(f"capsule must hold two positive lengths, got {capsule}")
        self.in_features = in_features
        self.out_features = out_features
        self.capsule = capsule
        self.iterations = iterations
        in_shape, out_shape = ((), ()) if capsule is None else ((capsule[0],), (capsule[1],))
        self.weight = nn.Parameter(
            torch.empty(
                out_features, in_features, *out_shape, *in_shape, device=device, dtype=dtype
            )
        )
        self.bias = (
            nn.Parameter(torch.empty(out_features, *out_shape, device=device, dtype=dtype))
            if bias
            else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform weights that give outputs the variance that nn.Linear gives them."""
        nn.init.uniform_(self.weight, -(self.in_features**0.5), self.in_features**0.5)
        if self.capsule is not None:
            with torch.no_grad():
                self.weight.mul_(self.capsule[0] ** -0.5)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -(self.in_features**-0.5), self.in_features**-0.5)

    def forward(self, input: Tensor) -> Tensor:
        """Means of the routed votes, in the shapes above."""
        means = self.clusters(input).means
        y = means.squeeze(-1) if self.capsule is None else means
        return y if self.bias is None else y + self.bias

    def clusters(self, input: Tensor) -> Clusters:
        """Means before the bias, [..., o, d], and responsibilities, [..., o, m]."""
        expected = (self.in_features, *(() if self.capsule is None else self.capsule[:1]))
        if input.shape[-len(expected) :] != expected:
            raise ValueError(
                f"EMRoutingLinear expects inputs that end in {expected}, got {tuple(input.shape)}"
            )
        if self.capsule is None:
            votes = (input.unsqueeze(-2) * self.weight).unsqueeze(-1)
        else:
            votes = torch.einsum("...mi,omdi->...omd", input, self.weight)
        return em_routing(votes, self.iterations)

    def extra_repr(self) -> str:
        """What repr shows between the parentheses."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, capsule={self.capsule}, iterations={self.iterations}"
        )


def _gaussians(votes: Tensor, responsibilities: Tensor) -> tuple[Tensor, Tensor]:
    """Responsibility-weighted means and variances of the votes, [..., o, d] each."""
    share = responsibilities.unsqueeze(-1)
    total = share.sum(-2) + torch.finfo(votes.dtype).tiny
    means = (share * votes).sum(-2) / total
    variances = (share * (votes - means.unsqueeze(-2)) ** 2).sum(-2) / total
    # a cluster of one vote has no variance, and a Gaussian without one has no gradient
    spread = votes.var(dim=-2, correction=0)
    return means, variances + VARIANCE_FLOOR * spread + torch.finfo(votes.dtype).eps


def _check_iterations(iterations: int) -> None:
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")

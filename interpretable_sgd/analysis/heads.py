"""The layer that makes the logits, and the terms that a logit is the sum of.

Index legend: `n` image, `m` unit (input of the head), `c` class, `p` position.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from interpretable_sgd.layers import DynamicConv2d, DynamicLinear
from interpretable_sgd.routing import select

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class Head:
    r"""The last layer of a classifier, as sums of terms.

    .. math:: z_{nc} = b_{nc} + \sum_m P_{ncm}

    A dense head sums all terms P_ncm = W_cm x_nm. A routed one sums those that it keeps, the others
    are 0. A 1x1 convolution does so at every position, and its logit is the mean over positions:
    P and b are means too. If a ReLU stands between convolution and mean, as in SqueezeNet, closed
    positions add nothing, and b depends on the image.

    Attributes:
        layer: the module itself.
        name: dotted, in its model; "" if it is the whole model.
        rectified: a ReLU comes before the mean over positions.
    """

    layer: Layer
    name: str
    rectified: bool = False

    @property
    def kind(self) -> str:
        """ "linear", "routed linear", "convolution" or "routed convolution"."""
        shape = "convolution" if isinstance(self.layer, nn.Conv2d) else "linear"
        return f"routed {shape}" if self.is_routed else shape

    @property
    def is_routed(self) -> bool:
        """Whether a logit sums the terms of a few units only."""
        return isinstance(self.layer, DynamicLinear | DynamicConv2d)

    @property
    def weight(self) -> Tensor:
        """W, (C, M)."""
        return self.layer.weight.detach().flatten(1)

    @property
    def bias(self) -> Tensor:
        """b, (C,); zeros if the layer has none."""
        bias = self.layer.bias
        return self.weight.new_zeros(len(self.weight)) if bias is None else bias.detach()

    def products(self, units: Tensor, classes: Tensor) -> Tensor:
        """W_cm x_nm of one class per image, whether or not they are kept, (n, M)."""
        raise NotImplementedError

    def parts(self, units: Tensor, classes: Tensor) -> Tensor:
        """P_ncm of one class per image, (n, M)."""
        raise NotImplementedError

    def biases(self, units: Tensor, classes: Tensor) -> Tensor:
        """b_nc of one class per image, (n,)."""
        raise NotImplementedError

    def logits(self, units: Tensor) -> Tensor:
        """z of all classes, by the layer itself, (n, C)."""
        raise NotImplementedError


@dataclass
class Reading:
    """What the head read in the last forward pass.

    Attributes:
        units: (n, M), or (n, M, p) where the terms differ between positions.
        logits: what the head made of them, (n, C).
    """

    units: Tensor = field(default_factory=lambda: torch.empty(0))
    logits: Tensor = field(default_factory=lambda: torch.empty(0))


def find_head(model: nn.Module, head: Layer | str | None = None) -> Head:
    """The head of a model: the last Linear layer, or the last 1x1 convolution without one."""
    raise NotImplementedError


@contextmanager
def reading(model: nn.Module, head: Head) -> Iterator[Reading]:
    """Capture, in evaluation mode, what the head reads in every forward pass inside."""
    raise NotImplementedError
    yield Reading()

"""The paper's nets by its names: `resnet18`, `resnet18_d5a`, `resnet18_l1`, `resnet50_d25a_isgd`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from experiments.models.narrow import Narrow
from interpretable_sgd import route

NAME = re.compile(r"resnet(18|50)(?:_d(\d+)a|_(d32_32_5a)|_(l1))?(_isgd)?")
STAGES = {"layer3": 32, "layer4": 32}  # what the supplement routes into, and with which K
BLOCKS = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}  # of each stage
SMALL = 64  # pixels up to which the stem keeps the resolution
UNITS = "layer4"  # whose maps, averaged, the head reads


@dataclass(frozen=True)
class Network:
    """What a name says.

    Attributes:
        depth: 18 or 50.
        k: connections that an output of the routed head sums; None for a dense head.
        inner: the two routed 1x1 convolutions of the supplement are there.
        l1: the head's weights are trained with an l1 penalty.
        isgd: trained with InterpretableSGD in place of SGD.
    """

    depth: int
    k: int | None = None
    inner: bool = False
    l1: bool = False
    isgd: bool = False


def network(name: str) -> Network:
    """Read a name.

    Raises:
        ValueError: not a name of the paper's.

    >>> network("resnet18_d5a_isgd")
    Network(depth=18, k=5, inner=False, l1=False, isgd=True)
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            "name must be resnet18 or resnet50, then nothing, _d5a (any K), _d32_32_5a or _l1, then "
            f"nothing or _isgd, got {name!r}"
        )
    depth, k, inner, l1, isgd = match.groups()
    head = 5 if inner else int(k) if k else None
    return Network(int(depth), head, bool(inner), bool(l1), bool(isgd))


def build(
    name: str,
    classes: int,
    size: int,
    channels: int = 3,
    share: float = 1.0,
    blocks: int | None = None,
) -> ResNet:
    """A net of a name, with weights from torch's global generator.

    Args:
        name: as for `network`; the optimizer and the penalty that it names are the caller's to add.
        classes: number of logits.
        size: pixels of a side; up to 64 the stem is that of CIFAR, a 3x3 convolution alone.
        channels: of the images.
        share: of the layers' channels, and of the K of routed convolutions; 1 is the paper's net.
        blocks: at most so many in a stage; None for all.

    Raises:
        ValueError: no such name; K exceeds the units that the head reads.

    >>> build("resnet18_d5a", classes=10, size=32).fc
    DynamicLinear(in_features=512, out_features=10, bias=True, k=5, selection='at_most_k')
    """
    wanted = network(name)
    net = _net(wanted.depth, classes, share, blocks)
    width = net.conv1.out_channels
    if size <= SMALL:
        net.conv1 = _stem(channels, width, kernel=3, stride=1)
        net.maxpool = nn.Identity()
    elif channels != net.conv1.in_channels:
        net.conv1 = _stem(channels, width, kernel=7, stride=2)
    if wanted.k is not None:
        inner = {stage: max(1, round(share * k)) for stage, k in STAGES.items()}
        route(net, k=wanted.k, insert=inner if wanted.inner else None)
    return net


def _net(depth: int, classes: int, share: float, blocks: int | None) -> ResNet:
    if share == 1 and blocks is None:
        return (resnet18 if depth == 18 else resnet50)(num_classes=classes)
    layers = [min(n, blocks or n) for n in BLOCKS[depth]]
    return Narrow(BasicBlock if depth == 18 else Bottleneck, layers, classes, share)


def _stem(channels: int, width: int, kernel: int, stride: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
    # as torchvision starts its own
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution

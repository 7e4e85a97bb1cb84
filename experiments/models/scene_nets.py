"""Nets whose number of units, resolution of unit maps, and field of view can be chosen apart.

Index legend: `n` image, `m` unit.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from experiments.models.classifiers import Classifier, small_resnet


def widened(
    channels: int, classes: int, units: int, strides: Sequence[int] = (1, 2, 2)
) -> Classifier:
    """`small_resnet` with a 1x1 convolution, batch norm and ReLU to any number of units.

    >>> widened(3, 100, units=512).fc
    Linear(in_features=512, out_features=100, bias=True)
    """
    body = small_resnet(channels, classes, strides=strides)
    last = body.fc.in_features
    point = [nn.Conv2d(last, units, 1, bias=False), nn.BatchNorm2d(units), nn.ReLU(inplace=True)]
    return Classifier(nn.Sequential(*body.maps, *point), body.pool, units, classes)


def local(channels: int, classes: int, units: int, blocks: int = 2) -> Classifier:
    """A net whose units see 7 (one block) or 13 pixels (two blocks): an object of the scenes, not two.

    >>> import torch
    >>> local(3, 24, units=64).maps(torch.rand(1, 3, 24, 24)).shape
    torch.Size([1, 64, 12, 12])
    """
    widths, strides = ((16, 32), (1, 2)) if blocks == 2 else ((32,), (2,))
    body = small_resnet(channels, classes, widths=widths, strides=strides)
    last = body.fc.in_features
    points: list[nn.Module] = []
    for inside, outside in ((last, 64), (64, units)):
        points += [
            nn.Conv2d(inside, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
        ]
    return Classifier(nn.Sequential(*body.maps, *points), body.pool, units, classes)

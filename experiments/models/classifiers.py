"""Small networks that show their units: maps of units, one number per unit, a linear head.

Index legend: `n` image, `m` unit, `c` class.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock


class Classifier(nn.Module):
    """A classifier that shows its units: `logits = fc(units(x))`, `units(x) = pool(maps(x))`.

    Args:
        maps: images (n, channels, h, w) to one map per unit (n, m, h', w').
        pool: maps to units (n, m), nonnegative.
        units: their number.
        classes: number of logits.
    """

    def __init__(self, maps: nn.Module, pool: nn.Module, units: int, classes: int) -> None:
        super().__init__()
        self.maps, self.pool = maps, pool
        self.fc = nn.Linear(units, classes)

    def units(self, images: Tensor) -> Tensor:
        """What the head reads, (n, m)."""
        return self.pool(self.maps(images))

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (n, c)."""
        return self.fc(self.units(images))


def mlp(features: int, classes: int, widths: Sequence[int] = (256, 128)) -> Classifier:
    """Linear layers and ReLUs on vectors, or on the pixels of an image; the last width is the number of units.

    >>> mlp(16, 26).fc
    Linear(in_features=128, out_features=26, bias=True)
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for inside, outside in pairwise((features, *widths)):
        layers += [nn.Linear(inside, outside), nn.ReLU(inplace=True)]
    return Classifier(nn.Sequential(*layers), nn.Identity(), widths[-1], classes)


def small_resnet(
    channels: int,
    classes: int,
    widths: Sequence[int] = (16, 32, 64),
    strides: Sequence[int] = (1, 2, 2),
    stem_stride: int = 1,
) -> Classifier:
    """A ResNet of one torchvision `BasicBlock` per width, mean pooling, and a head `fc`.

    Args:
        channels: of the images.
        classes: number of logits.
        widths: channels of the stem and of each block; the last is the number of units.
        strides: of each block.
        stem_stride: of the first convolution.

    >>> import torch
    >>> small_resnet(3, 24)(torch.rand(2, 3, 24, 24)).shape
    torch.Size([2, 24])
    """
    width = widths[0]
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 3, stem_stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    for wider, stride in zip(widths, strides, strict=True):
        layers.append(BasicBlock(width, wider, stride, _shortcut(width, wider, stride)))
        width = wider
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(nn.Sequential(*layers), pool, width, classes)


def _shortcut(inside: int, outside: int, stride: int) -> nn.Module | None:
    if inside == outside and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))


def digits_resnet(channels: int, classes: int) -> Classifier:
    """The same for 8 x 8 images, whose unit maps stay 4 x 4."""
    return small_resnet(channels, classes, strides=(1, 2, 1))


def glyph_net(channels: int, classes: int, units: int = 96) -> Classifier:
    """Two convolutions and a global maximum: units are weak and noisy detectors of local patterns.

    Batch norm follows the maximum, so a unit is the ReLU of a standardised evidence.

    >>> import torch
    >>> glyph_net(1, 20).units(torch.rand(4, 1, 24, 24)).min() >= 0
    tensor(True)
    """
    maps = nn.Sequential(
        nn.Conv2d(channels, 32, 5, padding=2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(32, units, 3, padding=1),
    )
    pool = nn.Sequential(
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.BatchNorm1d(units), nn.ReLU(inplace=True)
    )
    return Classifier(maps, pool, units, classes)


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
    maps = nn.Sequential(*body.maps.children(), *point)
    return Classifier(maps, body.pool, units, classes)


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
    maps = nn.Sequential(*body.maps.children(), *points)
    return Classifier(maps, body.pool, units, classes)

"""Small classifiers with every kind of head, as data, and a data set for them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from interpretable_sgd import DynamicConv2d, DynamicLinear

CLASSES, UNITS, SHAPE = 5, 12, (2, 6, 6)


def features(units: int = UNITS) -> list[nn.Module]:
    return [nn.Conv2d(2, units, 3), nn.BatchNorm2d(units), nn.ReLU(inplace=True)]


def flat(head: nn.Module) -> nn.Module:
    return nn.Sequential(*features(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def pooled(*head: nn.Module) -> nn.Module:
    return nn.Sequential(*features(), *head, nn.AdaptiveAvgPool2d(1), nn.Flatten())


BUILD: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: flat(nn.Linear(UNITS, CLASSES)),
    "linear without bias": lambda: flat(nn.Linear(UNITS, CLASSES, bias=False)),
    "at most 3": lambda: flat(DynamicLinear(UNITS, CLASSES, k=3)),
    # so many that some are negative
    "exactly 9": lambda: flat(DynamicLinear(UNITS, CLASSES, k=9, selection="exactly_k")),
    "convolution": lambda: pooled(nn.Conv2d(UNITS, CLASSES, 1)),
    "convolution with stride": lambda: pooled(nn.Conv2d(UNITS, CLASSES, 1, stride=2)),
    "rectified convolution": lambda: pooled(nn.Conv2d(UNITS, CLASSES, 1), nn.ReLU(inplace=True)),
    "routed convolution": lambda: pooled(DynamicConv2d(UNITS, CLASSES, k=3)),
    "routed with stride": lambda: pooled(DynamicConv2d(UNITS, CLASSES, k=3, stride=2)),
    "rectified routed": lambda: pooled(
        DynamicConv2d(UNITS, CLASSES, k=9, selection="exactly_k"), nn.ReLU(inplace=True)
    ),
}


def classifier(kind: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return BUILD[kind]().double().eval()


def images(count: int = 30, size: int = 8, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    """Batches of images and labels; the last batch is a rest."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, *SHAPE, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return list(zip(pixels.split(size), labels.split(size), strict=True))


def outputs(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(pixels) for pixels, _ in batches])

"""ResNets of torchvision at any width, with norms that keep samples apart."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

NORMS = ("group", "batch")


def resnet(name: str, width: int, classes: int, channels: int, norm: str, small: bool) -> nn.Module:
    """A ResNet of torchvision whose stages have width, 2 width, 4 width and 8 width channels.

    Args:
        name: "resnet18", "resnet50" or another of torchvision's ResNets, 64 wide there.
        width: of the first stage.
        classes: outputs.
        channels: of the images.
        norm: "group", or "batch" for BatchNorm, to be calibrated and then kept in evaluation mode.
        small: a 3 x 3 stem without pooling, for small images.

    Raises:
        ValueError: torchvision has no ResNet of that name, or an argument is out of its range.
    """
    from torchvision import models  # type: ignore[import-untyped]
    from torchvision.models.resnet import ResNet  # type: ignore[import-untyped]

    if name not in models.list_models() or width < 1:
        raise ValueError(f"torchvision has no ResNet {name!r} of width {width}")
    with torch.device("meta"):
        full = models.get_model(name)
    if not isinstance(full, ResNet):
        raise ValueError(f"model must be a ResNet of torchvision, got {name!r}")
    stages: list[Any] = [full.layer1, full.layer2, full.layer3, full.layer4]

    class Narrow(ResNet):  # type: ignore[misc]
        def _make_layer(self, block: Any, planes: int, *args: Any, **options: Any) -> nn.Sequential:
            if planes == 64:
                self.inplanes = width
            stage: nn.Sequential = super()._make_layer(
                block, planes * width // 64, *args, **options
            )
            return stage

    net = Narrow(
        type(stages[0][0]),
        [len(stage) for stage in stages],
        groups=full.groups,
        width_per_group=full.base_width,
        norm_layer=_norm(norm),
        num_classes=classes,
    )
    kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
    net.conv1 = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
    net.bn1 = _norm(norm)(width)
    if small:
        net.maxpool = nn.Identity()
    net.fc = nn.Linear(net.fc.in_features * width // 64, classes)
    return net


def _norm(norm: str) -> Callable[..., nn.Module]:
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {NORMS}, got {norm!r}")
    if norm == "batch":
        return nn.BatchNorm2d
    return lambda channels: nn.GroupNorm(math.gcd(channels, 4), channels)


def calibrate(net: nn.Module, images: Tensor) -> None:
    """Set the statistics of BatchNorm from all images, then stay in evaluation mode."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in norms:
        module.momentum = None
    net.train()
    with torch.no_grad():
        for part in images.split(256) if norms else ():
            net(part)
    net.eval()

"""torchvision's ResNets with a share of their channels and blocks, for data and machines that are small."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

CHANNELS = 64  # of the stem and of layer1's blocks


class Narrow(ResNet):
    """A ResNet whose every layer has `share` of the channels; its modules keep their names.

    Args:
        block: torchvision's.
        layers: blocks of each of the four stages.
        classes: number of logits.
        share: of the channels, in (0, 1], a multiple of 1/64.

    >>> Narrow(BasicBlock, [1, 1, 1, 1], classes=10, share=0.25).fc
    Linear(in_features=128, out_features=10, bias=True)
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], layers: list[int], classes: int, share: float
    ) -> None:
        width = CHANNELS * share
        if not (0 < share <= 1 and width == int(width)):
            raise ValueError(f"share must be a multiple of 1/64 in (0, 1], got {share}")
        self.width = int(width)
        super().__init__(block, layers, num_classes=classes)
        self.conv1 = nn.Conv2d(3, self.width, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = nn.BatchNorm2d(self.width)
        self.fc = nn.Linear(self.inplanes, classes)

    def _make_layer(
        self,
        block: type[BasicBlock | Bottleneck],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        if planes == CHANNELS:
            self.inplanes = self.width
        return super()._make_layer(block, planes * self.width // CHANNELS, blocks, stride, dilate)

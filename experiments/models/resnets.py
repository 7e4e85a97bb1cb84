"""torchvision's ResNets for images of any size, with a share of their channels and blocks."""

from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

BLOCKS = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}  # of each stage
SMALL = 64  # pixels up to which the stem keeps the resolution
CHANNELS = 64  # of the stem and of layer1's blocks


class Narrow(ResNet):  # type: ignore[misc]
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


def build(
    depth: int,
    classes: int,
    size: int,
    channels: int = 3,
    share: float = 1.0,
    blocks: int | None = None,
) -> ResNet:
    """A ResNet, with weights from torch's global generator.

    Args:
        depth: 18 or 50.
        classes: number of logits.
        size: pixels of a side; up to 64 the stem is that of CIFAR, a 3x3 convolution alone.
        channels: of the images.
        share: of the layers' channels; 1 is torchvision's network.
        blocks: at most so many in a stage; None for all.

    >>> build(18, classes=10, size=32).fc
    Linear(in_features=512, out_features=10, bias=True)
    """
    net = _net(depth, classes, share, blocks)
    width = net.conv1.out_channels
    if size <= SMALL:
        net.conv1 = _stem(channels, width, kernel=3, stride=1)
        net.maxpool = nn.Identity()
    elif channels != net.conv1.in_channels:
        net.conv1 = _stem(channels, width, kernel=7, stride=2)
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

"""ResNets of any share, for images of any size."""

import pytest
import torch
from torch import nn

from experiments.models.resnets import build


def test_a_small_image_keeps_its_resolution_in_the_stem():
    small, large = build(18, 10, 32), build(18, 10, 224)
    assert (small.conv1.kernel_size, small.conv1.stride) == ((3, 3), (1, 1))
    assert isinstance(small.maxpool, nn.Identity) and isinstance(large.maxpool, nn.MaxPool2d)
    assert (large.conv1.kernel_size, large.conv1.stride) == ((7, 7), (2, 2))
    # 11,173,962 weights: the ResNet-18 that CIFAR-10 is usually trained with
    assert sum(p.numel() for p in small.parameters()) == 11_173_962
    assert small(torch.rand(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize("size", [28, 96])
def test_images_of_one_channel(size):
    assert build(18, 4, size, channels=1)(torch.rand(2, 1, size, size)).shape == (2, 4)


def test_a_share_of_the_channels_and_blocks_keeps_the_names():
    whole, part = build(18, 10, 32), build(18, 10, 32, share=0.25, blocks=1)
    assert set(part.state_dict()) < set(whole.state_dict())
    assert part.fc.in_features == 128 and part.conv1.out_channels == 16
    assert [len(part.get_submodule(f"layer{i}")) for i in (1, 2, 3, 4)] == [1] * 4
    assert part(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert build(50, 10, 224, share=0.5).fc.in_features == 1024


def test_a_whole_share_is_the_papers_net():
    net, shapes = build(18, 10, 32, share=1.0, blocks=2), {}
    for name, tensor in build(18, 10, 32).state_dict().items():
        shapes[name] = tensor.shape
    assert {name: tensor.shape for name, tensor in net.state_dict().items()} == shapes


@pytest.mark.parametrize("share", [0, -0.5, 1.5, 0.3])
def test_other_shares(share):
    with pytest.raises(
        ValueError, match=rf"share must be a multiple of 1/64 in \(0, 1\], got {share}"
    ):
        build(18, 10, 32, share=share, blocks=1)

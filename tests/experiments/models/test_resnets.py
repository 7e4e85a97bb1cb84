"""Nets by the paper's names."""

import pytest
import torch
from torch import nn

from experiments.models.resnets import Network, build, network
from interpretable_sgd import DynamicConv2d, DynamicLinear


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("resnet18", Network(18)),
        ("resnet18_d1a", Network(18, k=1)),
        ("resnet18_d100a_isgd", Network(18, k=100, isgd=True)),
        ("resnet18_l1", Network(18, l1=True)),
        ("resnet50_d25a", Network(50, k=25)),
        ("resnet18_d32_32_5a", Network(18, k=5, inner=True)),
        ("resnet50_isgd", Network(50, isgd=True)),
    ],
)
def test_what_a_name_says(name, meaning):
    assert network(name) == meaning


@pytest.mark.parametrize(
    "name", ["resnet34", "resnet18_d5", "resnet18_isgd_d5a", "resnet18_d5a_l1", ""]
)
def test_other_names(name):
    with pytest.raises(ValueError, match=rf"name must be resnet18 or resnet50.*got '{name}'"):
        build(name, 10, 32)


def test_a_small_image_keeps_its_resolution_in_the_stem():
    small, large = build("resnet18", 10, 32), build("resnet18", 10, 224)
    assert (small.conv1.kernel_size, small.conv1.stride) == ((3, 3), (1, 1))
    assert isinstance(small.maxpool, nn.Identity) and isinstance(large.maxpool, nn.MaxPool2d)
    assert (large.conv1.kernel_size, large.conv1.stride) == ((7, 7), (2, 2))
    # 11,173,962 weights: the ResNet-18 that CIFAR-10 is usually trained with
    assert sum(p.numel() for p in small.parameters()) == 11_173_962
    assert small(torch.rand(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize("size", [28, 96])
def test_images_of_one_channel(size):
    assert build("resnet18", 4, size, channels=1)(torch.rand(2, 1, size, size)).shape == (2, 4)


def test_the_head_alone_is_routed():
    net = build("resnet50_d25a", 365, 224)
    routed = [m for m in net.modules() if isinstance(m, DynamicLinear | DynamicConv2d)]
    assert routed == [net.fc] and net.fc.k == 25 and net.fc.in_features == 2048


def test_the_supplement_routes_into_two_stages():
    net = build("resnet18_d32_32_5a", 365, 224)
    inner = [m for m in net.modules() if isinstance(m, DynamicConv2d)]
    assert [(m.in_channels, m.out_channels, m.k) for m in inner] == [(128, 256, 32), (256, 512, 32)]
    assert net.fc.k == 5
    assert net(torch.rand(1, 3, 64, 64)).shape == (1, 365)


def test_a_head_cannot_keep_more_than_it_reads():
    with pytest.raises(ValueError, match="600"):
        build("resnet18_d600a", 10, 32)


def test_dense_and_routed_nets_start_from_the_same_weights():
    nets = []
    for name in ("resnet18", "resnet18_d5a", "resnet18_l1", "resnet18_isgd"):
        torch.manual_seed(3)
        nets.append(build(name, 10, 32).state_dict())
    for other in nets[1:]:
        assert all(torch.equal(v, other[k]) for k, v in nets[0].items())


def test_a_share_of_the_channels_and_blocks_keeps_the_names():
    whole, part = build("resnet18", 10, 32), build("resnet18", 10, 32, share=0.25, blocks=1)
    assert set(part.state_dict()) < set(whole.state_dict())
    assert part.fc.in_features == 128 and part.conv1.out_channels == 16
    assert [len(part.get_submodule(f"layer{i}")) for i in (1, 2, 3, 4)] == [1] * 4
    assert part(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert build("resnet50", 10, 224, share=0.5).fc.in_features == 1024


def test_a_whole_share_is_the_papers_net():
    net, shapes = build("resnet18", 10, 32, share=1.0, blocks=2), {}
    for name, tensor in build("resnet18", 10, 32).state_dict().items():
        shapes[name] = tensor.shape
    assert {name: tensor.shape for name, tensor in net.state_dict().items()} == shapes


def test_routed_convolutions_keep_their_share_of_the_inputs():
    net = build("resnet18_d32_32_5a", 10, 32, share=0.25, blocks=1)
    inner = [m for m in net.modules() if isinstance(m, DynamicConv2d)]
    assert [(m.in_channels, m.k) for m in inner] == [(32, 8), (64, 8)] and net.fc.k == 5


@pytest.mark.parametrize("share", [0, -0.5, 1.5, 0.3])
def test_other_shares(share):
    with pytest.raises(
        ValueError, match=rf"share must be a multiple of 1/64 in \(0, 1\], got {share}"
    ):
        build("resnet18", 10, 32, share=share, blocks=1)

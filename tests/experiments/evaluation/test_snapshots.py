"""What figures show of decisions and units is what the net itself gives."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from experiments.datasets.dataset import Augmented, InMemory, LabelledData
from experiments.evaluation import snapshots
from interpretable_sgd import route


class Net(nn.Module):
    """`layer4` of four units, the first silent, their means read by `fc`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer4 = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU())
        self.fc = nn.Linear(4, 5)
        with torch.no_grad():
            self.layer4[0].weight.abs_()[0].neg_()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer4(images).mean((2, 3)))


def net_and_images(k: int | None = None) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    net, images = Net(), torch.rand(9, 3, 4, 4)
    return (net if k is None else route(net, k=k)), images


def arrays_of(net: nn.Module, images: torch.Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad():
        units, logits = net.layer4(images).mean((2, 3)), net(images)
    found = {"images": images, "units": units, "logits": logits, "weight": net.fc.weight.detach()}
    return {name: value.numpy() for name, value in found.items()}


def test_parts_and_biases_add_up_to_the_two_highest_logits_of_any_head():
    for k in (None, 2):
        net, images = net_and_images(k)
        test = InMemory(images, torch.zeros(9))
        data = LabelledData(
            "x",
            tuple("abcde"),
            (3, 4, 4),
            Augmented(test, None, 0),
            test,
            test,
            test,
            lambda x: x,
            {},
        )
        found = snapshots.decisions(net, data, 9)
        arrays = arrays_of(net, images)
        assert np.allclose(found["logits"], arrays["logits"], atol=1e-6)
        assert np.allclose(found["maps"].mean((2, 3)), found["units"], atol=1e-6)
        sums = found["decision_parts"].sum(2) + found["decision_biases"]
        highest = np.sort(arrays["logits"], axis=1)[:, ::-1][:, :2]
        assert np.allclose(sums, highest, atol=1e-6)
        assert k is None or ((found["decision_parts"] != 0).sum(2) <= k).all()
        assert np.array_equal(
            found["pictures"][2], (images[2] * 255).round().byte().permute(1, 2, 0)
        )
        assert "masks" not in found and found["class_names"].tolist() == list("abcde")


def test_top_images_are_those_of_the_largest_peaks():
    net, images = net_and_images()
    arrays = arrays_of(net, images)
    arrays["weight"] = np.full((5, 4), -1, dtype=np.float32)
    # of the last class, which is not among those that are shown
    arrays["weight"][4, 2] = arrays["weight"][1, 0] = 1
    found = snapshots.top_images(net, TensorDataset(images, torch.zeros(9)), arrays)
    assert found["top_targets:layer4"].tolist() == [0, 1, 2, 3]
    assert found["top_units:layer4"].tolist() == [0, 2]
    assert found["top_counts:layer4"].tolist() == [0, 3]
    with torch.no_grad():
        maps = net.layer4(images)[:, 2]
    best = maps.amax((1, 2)).argsort(descending=True)[:3]
    assert np.array_equal(found["top_maps:layer4"][1], maps[best])
    expected = (images[best] * 255).round().byte().permute(0, 2, 3, 1)
    assert np.array_equal(found["top_pictures:layer4"][1], expected)
    # 0.5 % of 144 values is none: nothing exceeds the largest
    assert np.isclose(found["top_thresholds:layer4"][1], maps.max(), rtol=1e-3)


def test_a_head_that_reads_no_unit_has_no_pictures():
    net, images = net_and_images()
    arrays = {"weight": np.zeros((5, 4), dtype=np.float32)}
    found = snapshots.top_images(net, TensorDataset(images, torch.zeros(9)), arrays)
    assert found["top_units:layer4"].shape == (0,) and len(found["top_pictures:layer4"]) == 0

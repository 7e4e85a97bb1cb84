"""What is looked at after an epoch."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from experiments.datasets.concepts import GeneratedConcepts
from experiments.datasets.synthetic.scenes import Scenes
from experiments.evaluation.callbacks import Watch, spread
from experiments.evaluation.unit_labels import Labeller

IMAGES = torch.rand(20, 3, 16, 16)


class Net(nn.Module):
    """Maps of eight units under the paper's name, and a head."""

    def __init__(self):
        super().__init__()
        self.layer4, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.layer4(x).relu().mean((2, 3)))


def test_units_are_labelled_at_few_epochs_and_the_rest_at_each():
    labels = torch.full((20,), 2)
    held, train = TensorDataset(IMAGES, labels), TensorDataset(IMAGES, 1 - labels.clamp(max=1))
    labeller = Labeller(GeneratedConcepts(Scenes(size=16), "test", 6), lambda x: x)
    watch = Watch(held, train, 10, labeller, epochs=16)
    model = Net()
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.copy_(torch.tensor([0.0, 0, 1, 0]))
    seen = {epoch: watch(model, epoch) for epoch in range(1, 17)}
    rest = {"validation_top1": 1.0, "train_top1": 0.0, "sparsity": 1.0}
    labelled = {epoch for epoch, found in seen.items() if "mean_iou" in found}
    assert {1, 16} <= labelled and len(labelled) <= 4
    assert all({k: found[k] for k in rest} == rest for found in seen.values())


def test_without_concepts_no_unit_is_labelled():
    data = TensorDataset(IMAGES, torch.zeros(20).long())
    assert "mean_iou" not in Watch(data, data, 10, None, epochs=1)(Net(), 1)


def test_some_images_show_all_classes_whatever_their_order():
    """100 of 800: of eight classes that take turns 12.5 each on average; never fewer than 5 here."""
    turns = TensorDataset(torch.zeros(800), torch.arange(800) % 8)
    sorted_ = TensorDataset(torch.zeros(800), torch.arange(800) // 100)
    for data in (turns, sorted_):
        counts = torch.bincount(torch.tensor([int(y) for _, y in spread(data, 100)]), minlength=8)
        assert counts.sum() == 100 and counts.min() >= 5
    assert spread(turns, 100).indices == spread(turns, 100).indices
    assert len(spread(turns, 9999)) == 800

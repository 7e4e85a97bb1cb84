"""What is looked at after an epoch."""

import pytest
import torch
from torch import nn

from experiments.datasets.concepts import GeneratedConcepts
from experiments.datasets.dataset import Augmented, InMemory, LabelledData
from experiments.datasets.synthetic.scenes import Scenes
from experiments.evaluation.callbacks import EpochMetrics, StepMetrics, measuring_steps
from experiments.evaluation.unit_labels import UnitLabeller
from experiments.models.registry import Model

IMAGES = torch.rand(20, 3, 16, 16)


class Net(nn.Module):
    """Maps of eight units under the paper's name, and a head."""

    def __init__(self):
        super().__init__()
        self.layer4, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.layer4(x).relu().mean((2, 3)))


def data(held: int, train: int) -> LabelledData:
    """Images whose labels are all the same."""
    held_out, plain = (InMemory(IMAGES, torch.full((20,), label)) for label in (held, train))
    parts = (Augmented(plain, None, 0), plain, held_out, held_out)
    return LabelledData("x", tuple("abcd"), (3, 16, 16), *parts, lambda x: x, {})


def test_units_are_labelled_at_few_epochs_and_the_rest_at_each():
    labeller = UnitLabeller(GeneratedConcepts(Scenes(size=16), "test", 6), lambda x: x)
    watch = EpochMetrics(data(2, 0), 10, labeller, epochs=16)
    model = Net()
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.copy_(torch.tensor([0.0, 0, 1, 0]))
    seen = {epoch: watch(model, epoch) for epoch in range(17)}
    rest = {"validation_accuracy": 1.0, "train_accuracy": 0.0, "sparsity": 1.0}
    labelled = {epoch for epoch, found in seen.items() if "mean_iou" in found}
    assert {0, 1, 16} <= labelled and len(labelled) <= 5
    assert all({k: found[k] for k in rest} == rest for found in seen.values())


def test_without_concepts_no_unit_is_labelled_and_tests_are_read_if_they_are_to_be():
    assert set(EpochMetrics(data(0, 0), None, None, epochs=1)(Net(), 1)) == {
        "validation_accuracy",
        "sparsity",
    }
    assert "test_accuracy" in EpochMetrics(data(0, 0), 9, None, epochs=1, tested=True)(Net(), 1)


@pytest.mark.parametrize(("steps", "share"), [(624, 0.04), (1488, 0.04), (100, 0.9), (3, 0.04)])
def test_measuring_costs_its_share(steps, share):
    chosen = measuring_steps(steps, share)
    assert max(chosen) == steps and min(chosen) >= 1
    assert 2 * len(chosen) <= max(2, share * steps)


def test_the_gradient_is_unbiased_where_one_batch_is_not():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(400, 3, generator=generator), torch.arange(400) % 2
    model = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(2, 3, generator=generator) / 3)
        model[0].bias.zero_()
    nn.functional.cross_entropy(model(images), labels).backward()
    truth = sum((p.grad.double() ** 2).sum().item() for p in model.parameters())
    train = Augmented(InMemory(images, labels), None, 0)
    measure = StepMetrics(train, 8, 400, seed=0, share=0)
    values = torch.tensor([measure._gradient(model, step) for step in range(400)])
    error = (values.std() / 400**0.5).item()
    assert abs(values.mean().item() - truth) < 4 * error
    naive = []
    for start in range(0, 400, 8):
        model.zero_grad()
        part = slice(start, start + 8)
        nn.functional.cross_entropy(model(images[part]), labels[part]).backward()
        naive.append(sum((p.grad.double() ** 2).sum().item() for p in model.parameters()))
    assert sum(naive) / len(naive) > truth + 4 * error


def test_measuring_leaves_the_model_alone():
    model = Model("digits_resnet").build((1, 8, 8), 10).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    samples = InMemory(torch.rand(8, 1, 8, 8), torch.arange(8))
    measure = StepMetrics(Augmented(samples, None, 0), 4, 1, seed=0)
    found = measure(model, 1, torch.tensor(0.5))
    assert set(found) == {"loss", "sparsity", "gradient"} and found["loss"] == 0.5
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and model.training


def test_too_few_images_to_measure_on():
    samples = Augmented(InMemory(torch.rand(70, 1), torch.zeros(70)), None, 0)
    with pytest.raises(ValueError, match="images must be at least 2 batches of 64, got 70"):
        StepMetrics(samples, 64, 1, seed=0)

"""The gradient's norm without bias, and the share of right predictions."""

import torch
from torch import nn

from experiments.evaluation import measures
from experiments.models.classifiers import build, digits_resnet


def test_accuracy_is_the_share_of_largest_logits_at_the_label():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [0.0, 1.0]])
    assert measures.test_accuracy(logits, torch.tensor([0, 0, 1])) == 2 / 3


def test_squared_gradient_norm_is_unbiased_where_one_batch_is_not():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(400, 3, generator=generator), torch.arange(400) % 2
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, 3, generator=generator) / 3)
        model.bias.zero_()
    nn.functional.cross_entropy(model(images), labels).backward()
    truth = sum((p.grad.double() ** 2).sum().item() for p in model.parameters())
    estimates, naive = [], []
    for _ in range(400):
        order = torch.randint(400, (16,), generator=generator)
        halves = [(images[part], labels[part]) for part in order.split(8)]
        estimates.append(measures.squared_gradient_norm(model, *halves))
        naive.append(measures.squared_gradient_norm(model, halves[0], halves[0]))
    values = torch.tensor(estimates)
    error = (values.std() / 400**0.5).item()
    assert abs(values.mean().item() - truth) < 4 * error
    assert torch.tensor(naive).mean().item() > truth + 4 * error


def test_squared_gradient_norm_leaves_the_model_alone():
    model = build(digits_resnet, 1, 10, seed=0).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    images, labels = torch.rand(8, 1, 8, 8), torch.arange(8)
    measures.squared_gradient_norm(model, (images[:4], labels[:4]), (images[4:], labels[4:]))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())

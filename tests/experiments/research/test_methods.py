"""Rows become optimizers: what a row says is what is trained."""

import torch

from experiments.models.classifiers import build, small_resnet
from experiments.research.methods import DENSE, DYNAMIC, RECIPE, begin, l1
from interpretable_sgd import DynamicLinear, InterpretableSGD


def started(method, steps=10):
    model = build(small_resnet, 3, 8, seed=0)
    return model, *begin(method, model, lr=0.1, seed=0, steps=steps)


def trained(method, steps):
    model, optimizer, after = started(method, steps)
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), torch.arange(8)).backward()
        optimizer.step()
        after()
    return model, optimizer


def test_the_recipe_is_sgd_until_it_narrows():
    """10 steps: whole rows through the third, the recipe's blocks from the fifth."""
    (recipe, optimizer), (dense, _) = trained(RECIPE, 10), trained(DENSE, 10)
    assert optimizer.param_groups[0]["narrowing"] == 1
    sums = {name: unit.probabilities.sum(1) for name, unit in optimizer.routed_units().items()}
    torch.testing.assert_close(sums["fc"], torch.full((8,), 3.0))
    torch.testing.assert_close(sums["maps.5.conv2"], torch.full((64,), 24.0))
    assert not torch.equal(recipe.fc.weight, dense.fc.weight)

    early = [started(method) for method in (RECIPE, DENSE)]
    images = torch.rand(8, 3, 16, 16)
    for _ in range(3):
        for model, optimizer, after in early:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), torch.arange(8)).backward()
            optimizer.step()
            after()
    (first, *_), (second, *_) = early
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_rows_choose_the_optimizer_and_the_head():
    model, optimizer, _ = started(DYNAMIC)
    assert isinstance(model.fc, DynamicLinear) and model.fc.k == 5
    assert not isinstance(optimizer, InterpretableSGD)
    _, optimizer, _ = started(l1(0.25))
    assert optimizer.param_groups[0]["l1"] == 0.25

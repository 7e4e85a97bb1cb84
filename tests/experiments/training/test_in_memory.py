"""The loop: seeded, undisturbed by what it measures, and clear about what it cannot do."""

import math
import time

import pytest
import torch
from torch import nn

from experiments.models.classifiers import build, digits_resnet
from experiments.training.in_memory import measuring_steps, train
from interpretable_sgd import InterpretableSGD


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(70, 1, 8, 8, generator=generator), torch.arange(70) % 10


def run(data, optimizer=torch.optim.SGD, seed=0, **options):
    model = build(digits_resnet, 1, 10, seed=0)
    steps = optimizer(model.parameters(), lr=0.05, momentum=0.9)
    plan = {"epochs": 2, "batch": 16, "seed": seed} | options
    return model.state_dict(), train(model, steps, *data, **plan), steps


def same(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


def test_counts_steps_and_ends_the_schedule_at_zero(data):
    losses = []
    _, history, optimizer = run(data, report=losses.append)
    assert len(history.losses) == 2 * (70 // 16) == len(losses)
    assert losses == history.losses
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    assert history.seconds > 0


def test_the_loop_is_the_literal_one(data):
    images, labels = data
    model = build(digits_resnet, 1, 10, seed=0).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.Generator().manual_seed(3)
    for epoch in range(2):
        shuffled = torch.randperm(70, generator=order)
        for step in range(4):
            t = 4 * epoch + step
            optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * t / 8)) / 2
            chosen = shuffled[16 * step : 16 * step + 16]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    trained = run(data, seed=3)[0]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, InterpretableSGD])
def test_measuring_gradients_does_not_change_the_run(data, optimizer):
    without, none, _ = run(data, optimizer, share=0.0)
    measured, history, _ = run(data, optimizer, share=0.9)
    assert none.gradient_steps == [] and none.gradients == []
    assert history.gradient_steps == [1, 3, 8] and len(history.gradients) == 3
    assert same(without, measured)


def test_the_order_is_the_seeds(data):
    assert same(run(data)[0], run(data)[0])
    assert not same(run(data)[0], run(data, seed=1)[0])


@pytest.mark.parametrize(("steps", "share"), [(624, 0.04), (1488, 0.04), (100, 0.9), (3, 0.04)])
def test_measuring_costs_its_share(steps, share):
    chosen = measuring_steps(steps, share)
    assert max(chosen) == steps and min(chosen) >= 1
    assert 2 * len(chosen) <= max(2, share * steps)


def test_too_few_images(data):
    with pytest.raises(ValueError, match="images must be at least 2 batches of 64, got 70"):
        run(data, batch=64)


def test_a_loss_that_is_not_finite_stops_the_run(data):
    images, labels = data
    with pytest.raises(FloatingPointError, match="the loss is nan at step 1"):
        run((images * float("nan"), labels))


def test_looks_at_every_epoch_outside_of_the_training_seconds(data):
    seen = []

    def look(epoch):
        seen.append(epoch)
        time.sleep(0.2)

    _, history, _ = run(data, look=look)
    assert seen == [0, 1, 2]
    assert history.measuring_seconds >= 3 * 0.2

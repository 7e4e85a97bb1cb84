"""Faults are named, sound runs are not accused, and conditions are counted."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from interpretable_sgd.convergence import Conditions, Recorder, conditions, diagnose, held
from interpretable_sgd.convergence.diagnosis import STEP
from tests.convergence import faulty_runs as faulty


def named(case, runs):
    return [{fault.name for fault in faulty.run(case, seed).faults()} for seed in range(runs)]


@pytest.mark.parametrize("case", faulty.FAULTS)
def test_faults_are_named(case):
    """n = 2 runs each; the nightly test below has 50."""
    assert all(faulty.FAULTS[case] in names for names in named(case, 2))


@pytest.mark.parametrize("case", faulty.SOUND)
def test_sound_runs_are_not_accused(case):
    """n = 2 runs each; the nightly test below has 50."""
    assert not any(named(case, 2))


@pytest.mark.nightly
@pytest.mark.parametrize("case", faulty.FAULTS)
def test_faults_are_named_in_95_of_100(case):
    """n = 50 runs: at least 48, 95 % of 50. Were the true share 90 %, 48 would be reached with
    probability .11 (binomial); 50 of 50 put its lower 95 % bound at .94."""
    assert sum(faulty.FAULTS[case] in names for names in named(case, 50)) >= 48


@pytest.mark.nightly
@pytest.mark.parametrize("case", faulty.SOUND)
def test_false_alarms_are_at_most_5_of_100(case):
    """n = 50 runs: at most 2."""
    assert sum(bool(names) for names in named(case, 50)) <= 2


def test_the_summary_counts_how_often_conditions_held():
    recorder = faulty.run("sound", 0, steps=100)
    text = recorder.summary()
    readings = len(recorder.series("eta_lambda_max")[0])
    assert f"eta * lambda_max <= 1: held at {readings} of {readings} recorded steps" in text
    assert "fault" not in text
    text = faulty.run("starved", 0, steps=100).summary()
    assert "fault: rows are starved: 25% of the rows of '2.weight' never moved" in text


def test_reading_disturbs_nothing():
    """The weights of a run are the same with and without conditions."""

    def trained(reads):
        x, y = faulty.data(0)
        net = faulty.network(0)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        def objective(model):
            return nn.functional.cross_entropy(model(x), y)

        read = Conditions(net, optimizer, objective, budget=None).read if reads else dict
        for _ in range(5):
            optimizer.zero_grad()
            objective(net).backward()
            read()
            optimizer.step()
        assert not net[0]._forward_hooks
        return net.state_dict()

    one, two = trained(False), trained(True)
    assert all(one[name].equal(two[name]) for name in one)


def test_noise_is_the_variance_of_the_steps_gradient():
    """Its mean over 400 batches of one net against the exact variance, within 4 standard errors."""
    x, y = faulty.data(0)
    net, generator = faulty.network(0), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)

    def objective(model):
        return nn.functional.cross_entropy(model(x), y)

    each = []
    for i in range(len(x)):
        loss = nn.functional.cross_entropy(net(x[i : i + 1]), y[i : i + 1])
        each.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, net.parameters())]))
    g = torch.stack(each).double()
    exact = float(((g - g.mean(0)) ** 2).sum(1).mean()) / 10
    reader, found = Conditions(net, optimizer, objective, budget=None, curvature_steps=1), []
    for _ in range(400):
        rows = torch.randint(len(x), (10,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        found.append(reader.read()["noise"])
    noise = torch.tensor(found)
    assert abs(noise.mean() - exact) < 4 * noise.std() / 20


def test_weight_decay_does_not_count_as_moving():
    """A starved row that decay shrinks is starved all the same."""
    x, y = faulty.data(0)
    net = faulty.network(0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01)

    def objective(model):
        return nn.functional.cross_entropy(model(x), y)

    recorder = Recorder(
        optimizer, horizon=40, conditions=Conditions(net, optimizer, objective, budget=None)
    )
    for _ in range(40):
        optimizer.zero_grad()
        loss = objective(net)
        loss.backward()
        recorder.step(loss)
        net[2].weight.grad[1] = 0
        optimizer.step()
    assert recorder.series("starved_rows/2.weight")[1][-1] == 0.25
    assert recorder.series("starved_rows/0.weight")[1][-1] == 0
    assert recorder.series("frozen/2.weight")[1][-1] == 0


class Settled(torch.optim.SGD):
    """A settled optimizer: connections outside its supports are meant to rest."""

    def __init__(self, params, support, lr):
        super().__init__(params, lr)
        self.support = support

    def routed_units(self):
        units = SimpleNamespace(support=self.support, settled=torch.ones(4).bool(), bias=0.5)
        return {"2": units}

    def bias_ratio(self):
        return {"0": torch.tensor([0.1, 0.25])}


def test_connections_outside_a_settled_support_may_rest():
    x, y = faulty.data(0)
    net = faulty.network(0)
    support = torch.rand(4, 24, generator=torch.Generator().manual_seed(0)) < 0.3
    optimizer = Settled(net.parameters(), support, 0.1)

    def objective(model):
        return nn.functional.cross_entropy(model(x), y)

    read = Conditions(net, optimizer, objective, budget=None)
    recorder = Recorder(optimizer, horizon=30, conditions=read)
    for _ in range(30):
        optimizer.zero_grad()
        loss = objective(net)
        loss.backward()
        recorder.step(loss)
        net[2].weight.grad *= support
        optimizer.step()
    assert recorder.series("frozen/2.weight")[1][-1] == 0
    assert recorder.series("bias/0")[1][-1] == 0.25
    assert recorder.series("bias/2")[1][-1] == 0.5
    assert not recorder.faults()


def test_adaptive_optimizers_have_no_single_step():
    x, _ = faulty.data(0)
    net = faulty.network(0)
    reader = Conditions(net, torch.optim.Adam(net.parameters()), lambda m: m(x).square().mean())
    assert "eta_lambda_max" not in reader.read()


@pytest.mark.parametrize("cost", [0.5, 5.0, 40.0])
def test_readings_keep_to_their_budget(monkeypatch, cost):
    """On a clock of its own: a step takes 1, a reading `cost`; 5 % of the run, after the first."""
    now = [0.0]
    monkeypatch.setattr(conditions.time, "perf_counter", lambda: now[0])
    net = nn.Linear(1, 1)
    reader = Conditions(net, torch.optim.SGD(net.parameters(), lr=0.1), lambda m: m.weight.sum())

    def reading(name, times):
        def read():
            now[0] += times * cost
            return {name: 1.0}

        return read

    monkeypatch.setattr(reader, "_gradients", reading("gradients", 1))
    monkeypatch.setattr(reader, "_curvature", reading("curvature", 3))
    taken = Counter()
    for _ in range(20_000):
        taken.update(reader.read())
        now[0] += 1
    for name, times in (("gradients", 1), ("curvature", 3)):
        assert taken[name] >= 0.7 * 0.025 * now[0] / (times * cost)
        assert (taken[name] - 1) * times * cost <= 0.025 * now[0]


@pytest.mark.parametrize(("scale", "noise"), [(1 / 8, 0.1), (8, 0.1), (1 / 8, 1), (8, 1)])
def test_a_lost_scale_is_seen_through_noise(scale, noise):
    """40 readings of |grad F|^2 = 1 with noise of .1 and 1 standard deviations: 48 of 50 seeds."""
    assert lost(scale, noise) >= 48


@pytest.mark.parametrize("noise", [0.1, 1, 10])
def test_noise_alone_is_not_a_lost_scale(noise):
    assert lost(1, noise) == 0


def lost(scale, noise):
    """Of 50 seeds, those in which a scale of 40 readings is called lost."""
    found = 0
    for seed in range(50):
        products = scale * (1 + noise * np.random.default_rng(seed).standard_normal(40))
        found += bool(diagnose({"scale_product": products, "gradient_square": np.ones(40)}))
    return found


def test_few_readings_say_nothing():
    assert not diagnose({"eta_lambda_max": [9.0] * 4})
    assert diagnose({"loss": [1.0, 2.0, 3.0, float("inf"), float("nan")]})[0].name == STEP
    assert held({"dead_units/0": [0.0, 0.5]}) == {"at most 5 % of the units of 0 are dead": (1, 2)}


def test_errors():
    net = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"budget must be in \(0, 1\], got 0"):
        Conditions(net, optimizer, lambda m: m.weight.sum(), budget=0)
    with pytest.raises(ValueError, match="curvature_steps must be at least 1, got 0"):
        Conditions(net, optimizer, lambda m: m.weight.sum(), curvature_steps=0)

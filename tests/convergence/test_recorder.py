import io
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from interpretable_sgd import InterpretableSGD, Recorder, estimate_rate, gradient_product


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))


x = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
y = torch.randint(3, (40,), generator=torch.Generator().manual_seed(2))


def loss_on(rows):
    return lambda model: functional.cross_entropy(model(x[rows]), y[rows])


def train(net, optimizer, recorder, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        loss.backward()
        recorder.step(
            loss,
            gradient=lambda: gradient_product(net, loss_on(slice(20)), loss_on(slice(20, 40))),
            accuracy=lambda: (net(x).argmax(1) == y).double().mean().item(),
        )
        optimizer.step()


def test_a_training_loop_is_recorded_once_in_every_stretch(net):
    optimizer = InterpretableSGD(net.parameters(), lr=0.1, block_size=2)
    recorder = Recorder(optimizer, per_decade=3)
    train(net, optimizer, recorder, 25)
    assert recorder.steps == 25
    assert {"loss", "gradient", "accuracy", "lr", "support/2"} <= set(recorder.names)
    steps, losses = recorder.series("loss")
    # Stretches end at 1, 2, 5, 10, 22, 46; the last may be read later than step 25.
    assert len(steps) in (5, 6)
    ends = [1, 2, 5, 10, 22, 46]
    assert all(a < t <= b for t, a, b in zip(steps, [0, *ends], ends, strict=False))
    assert losses[0] > losses[-1]


@pytest.mark.parametrize(
    "build",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, lr=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.1),
    ],
)
def test_any_optimizer_is_recorded(net, build):
    optimizer = build(net.parameters())
    recorder = Recorder(optimizer, horizon=20)
    train(net, optimizer, recorder, 20)
    assert set(recorder.names) == {"loss", "gradient", "accuracy", "lr"}
    assert len(recorder.series("gradient")[0]) == 20
    assert recorder.average("lr") == pytest.approx(0.1)


class Routed(torch.optim.SGD):
    """What `InterpretableSGD` shows of its routing, with supports that are given."""

    phase = "route"

    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self.supports = [torch.eye(3).bool(), torch.ones(3, 3).bool()]

    def routed_units(self):
        support = self.supports.pop(0)
        return {"head": SimpleNamespace(support=support, settled=torch.tensor([1, 0, 0]).bool())}


def test_routing_is_recorded_where_there_is_any():
    recorder = Recorder(Routed([torch.zeros(1, requires_grad=True)]))
    recorder.step(1.0)
    recorder.step(1.0)
    assert recorder.series("support/head")[1].tolist() == [1, 3]
    assert recorder.series("settled/head")[1].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert recorder.series("churn/head")[1].tolist() == pytest.approx([6 / 9])
    assert recorder.series("phase")[1].tolist() == [2, 2]
    assert "support of 'head' 1 -> 3" in recorder.summary()


def test_the_mean_loss_since_the_last_reading_is_recorded_and_its_average_is_exact():
    recorder = Recorder(per_decade=1)
    for value in range(1, 15):
        recorder.step(torch.tensor(float(value)))
    steps, losses = recorder.series("loss")
    assert steps[0] == 1 and 2 <= steps[1] <= 10
    assert losses.tolist()[:2] == [1, np.mean(range(2, int(steps[1]) + 1))]
    assert recorder.average("loss") == pytest.approx(np.mean(range(1, 15)))


def test_costly_functions_are_called_at_readings_only():
    calls = []
    recorder = Recorder(per_decade=1, seed=3)
    for _ in range(100):
        due = recorder.due
        recorder.step(0.0, gradient=lambda: calls.append(1) or 1.0)
        assert due == (recorder.steps in recorder.series("gradient")[0])
    assert len(calls) == 3


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", ["routed", "shared", "algorithm3"])
def test_gradient_products_are_the_plain_ones_and_disturb_nothing(net, method):
    options = dict(method=method, block_size=2, seed=1)
    plain = torch.autograd.grad(functional.cross_entropy(net(x), y), list(net.parameters()))
    expected = sum(float((g.double() ** 2).sum()) for g in plain)
    optimizer = InterpretableSGD(net.parameters(), lr=0.1, **options)
    functional.cross_entropy(net(x), y).backward()
    assert gradient_product(net, loss_on(slice(None))) == pytest.approx(expected, rel=1e-6)
    optimizer.detach()
    runs = []
    for measured in (False, True):
        torch.manual_seed(0)
        again = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
        optimizer = InterpretableSGD(again.parameters(), lr=0.1, **options)
        for _ in range(5):
            optimizer.zero_grad()
            functional.cross_entropy(again(x), y).backward()
            if measured:
                gradient_product(again, loss_on(slice(20)), loss_on(slice(20, 40)))
            optimizer.step()
        runs.append([p.detach().clone() for p in again.parameters()])
    assert all(a.equal(b) for a, b in zip(*runs, strict=True))


def test_products_of_half_batches_average_to_the_full_gradient(net):
    """100 random splits of the data, all pairs of halves: the mean within 4 standard errors."""
    plain = torch.autograd.grad(functional.cross_entropy(net(x), y), list(net.parameters()))
    full = sum(float((g.double() ** 2).sum()) for g in plain)
    generator = torch.Generator().manual_seed(0)
    products = []
    for _ in range(100):
        rows = torch.randint(40, (2, 10), generator=generator)
        products.append(gradient_product(net, loss_on(rows[0]), loss_on(rows[1])))
    error = np.std(products, ddof=1) / 10
    assert abs(np.mean(products) - full) < 4 * error


def test_evaluation_mode_leaves_batch_statistics_alone():
    norm = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))
    gradient_product(norm, lambda model: model(x).square().mean())
    assert norm[1].num_batches_tracked == 0
    assert norm.training


def recorded(values, seed=0, **options):
    recorder = Recorder(seed=seed, **options)
    for value in values:
        recorder.step(0.0, gradient=lambda value=value: float(value))
    return recorder


@pytest.mark.parametrize("horizon", [250, 500, 1000, 2000])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_average_is_the_mean_over_all_steps(horizon, power):
    """The true mean over all T steps, whatever T: within 4 % for one seed where T is not known,
    within 1 % where it is; and over 200 seeds without bias: |z| < 4."""
    values = np.arange(1, horizon + 1) ** -power
    exact = values.mean()
    assert recorded(values).average("gradient") == pytest.approx(exact, rel=0.04)
    known = [recorded(values, seed, horizon=horizon).average("gradient") for seed in range(200)]
    assert known[0] == pytest.approx(exact, rel=0.01)
    assert abs(np.mean(known) - exact) < 4 * np.std(known, ddof=1) / 200**0.5


def test_average_of_noise_is_unbiased():
    """300 recordings of one noisy sequence: their mean is that of its 777 values, |z| < 4."""
    values = np.random.default_rng(0).exponential(1, 777) * np.linspace(3, 1, 777)
    known = [recorded(values, seed, horizon=777).average("gradient") for seed in range(300)]
    assert abs(np.mean(known) - values.mean()) < 4 * np.std(known, ddof=1) / 300**0.5


def test_average_since_a_step_is_the_mean_over_what_came_after():
    values = np.where(np.arange(1, 1001) <= 400, 100.0, 1.0)
    for options in ({}, {"horizon": 1000}):
        recorder = recorded(values, **options)
        assert recorder.average("gradient", since=400) == 1
        assert recorder.average("gradient") > 30
    with pytest.raises(ValueError, match="'gradient' has no reading after step 1000"):
        recorder.average("gradient", since=1000)


def test_averages_so_far_end_in_the_average():
    recorder = recorded(np.arange(1, 301) ** -0.5)
    steps, means = recorder.averages("gradient")
    assert steps[-1] == 300
    assert means[-1] == pytest.approx(recorder.average("gradient"))
    assert recorder.averages("loss")[1].tolist() == [0.0] * len(recorder.series("loss")[0])


@pytest.mark.parametrize("exponent", [0.65, 0.62, 0.5])
@pytest.mark.parametrize("known", [False, True])
def test_verdicts_from_recorded_averages_are_those_of_the_true_means(exponent, known):
    """eta = T^-p on a quadratic: readings once turned "slower" (slope -.355) into "at least as
    fast" (-.493), as they stopped at the last of the log-spaced steps."""
    horizons, runs = [250, 500, 1000, 2000], 8
    exact, found = np.empty((4, runs)), np.empty((4, runs))
    rng = np.random.default_rng(0)
    for row, T in enumerate(horizons):
        for run in range(runs):
            # The mean of |grad F|^2 near its floor, from afar: a descent and a step's worth.
            eta = T**-exponent
            t = np.arange(T)
            values = np.exp(-2 * 0.2 * eta * t) + eta * rng.lognormal(0, 0.1)
            exact[row, run] = values.mean()
            options = {"horizon": T} if known else {}
            found[row, run] = recorded(values, run, **options).average("gradient")
    true, read = estimate_rate(horizons, exact), estimate_rate(horizons, found)
    assert read.slope == pytest.approx(true.slope, abs=0.03)
    assert read.verdict == true.verdict


def test_a_saved_recorder_goes_on(net):
    halves = []
    for stop in (None, 13):
        recorder = Recorder(per_decade=4)
        for t in range(60):
            if t == stop:
                state = json.loads(json.dumps(recorder.state_dict()))
                recorder = Recorder(per_decade=4)
                recorder.load_state_dict(state)
            recorder.step(1 / (t + 1), gradient=lambda t=t: float(t))
        halves.append(recorder.state_dict())
    assert halves[0] == halves[1]


def test_the_plot_is_written_in_one_line(tmp_path):
    pytest.importorskip("matplotlib")
    recorder = Recorder()
    for t in range(50):
        recorder.step(1 / (t + 1), gradient=lambda t=t: (-1.0) ** t / (t + 1))
    recorder.plot(tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    recorder.plot(buffer := io.BytesIO())
    assert buffer.getvalue()


def test_importing_does_not_import_matplotlib():
    code = "import sys, interpretable_sgd; assert 'matplotlib' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="per_decade must be at least 1, got 0"):
        Recorder(per_decade=0)
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        Recorder(horizon=0)
    with pytest.raises(ValueError, match="readings must be at least 1, got -1"):
        Recorder(readings=-1)
    assert Recorder().summary() == "nothing is recorded yet"
    with pytest.raises(ValueError, match="nothing is recorded yet"):
        Recorder().plot(tmp_path / "empty.png")
    recorder = Recorder()
    recorder.step(1.0)
    with pytest.raises(KeyError, match="nothing is recorded as 'gradient', only loss"):
        recorder.series("gradient")

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from interpretable_sgd import InterpretableSGD, Recorder, gradient_product


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
        optimizer.step()
        recorder.step(
            loss,
            gradient=lambda: gradient_product(net, loss_on(slice(20)), loss_on(slice(20, 40))),
            accuracy=lambda: (net(x).argmax(1) == y).double().mean().item(),
        )


def test_a_training_loop_is_recorded_at_log_spaced_steps(net):
    optimizer = InterpretableSGD(net.parameters(), lr=0.1, block_size=2, horizon=5)
    recorder = Recorder(optimizer, per_decade=3)
    train(net, optimizer, recorder, 25)
    assert recorder.steps == 25
    assert set(recorder.names) == {"loss", "gradient", "accuracy", "selected/2", "support/2"}
    steps, losses = recorder.series("loss")
    assert steps.tolist() == [1, 2, 5, 10, 22]
    assert losses[0] > losses[-1]
    assert 0 < recorder.series("selected/2")[1][-1] < 1


def test_the_mean_loss_since_the_last_point_is_recorded():
    recorder = Recorder(per_decade=1)
    for value in range(1, 11):
        recorder.step(torch.tensor(float(value)))
    steps, losses = recorder.series("loss")
    assert steps.tolist() == [1, 10]
    assert losses.tolist() == [1, np.mean(range(2, 11))]


def test_costly_functions_are_called_at_chosen_steps_only():
    calls = []
    recorder = Recorder(per_decade=1)
    for _ in range(100):
        due = recorder.due
        recorder.step(0.0, gradient=lambda: calls.append(1) or 1.0)
        assert due == (recorder.steps in (1, 10, 100))
    assert len(calls) == 3


@pytest.mark.parametrize("mask", ["shared", "per-sample"])
def test_gradient_products_are_the_plain_ones_and_disturb_nothing(net, mask):
    options = dict(mask=mask, block_size=2, seed=1)
    plain = torch.autograd.grad(functional.cross_entropy(net(x), y), list(net.parameters()))
    expected = sum(float((g.double() ** 2).sum()) for g in plain)
    if mask == "per-sample":
        with pytest.warns(UserWarning, match="CE3"):
            optimizer = InterpretableSGD(net.parameters(), lr=0.1, model=net, **options)
            net(x)
    else:
        optimizer = InterpretableSGD(net.parameters(), lr=0.1, model=net, **options)
    assert gradient_product(net, loss_on(slice(None))) == pytest.approx(expected, rel=1e-6)
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


def test_average_is_the_mean_over_all_steps():
    recorder = Recorder(per_decade=50)
    for t in range(1, 2001):
        recorder.step(0.0, gradient=lambda t=t: t**-0.5)
    exact = np.mean(np.arange(1, 2001) ** -0.5)
    last = recorder.series("gradient")[0][-1]
    exact = np.mean(np.arange(1, int(last) + 1) ** -0.5)
    assert recorder.average("gradient") == pytest.approx(exact, rel=0.01)


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
    with pytest.raises(ValueError, match="nothing is recorded yet"):
        Recorder().plot(tmp_path / "empty.png")
    recorder = Recorder()
    recorder.step(1.0)
    with pytest.raises(KeyError, match="nothing is recorded as 'gradient', only loss"):
        recorder.series("gradient")

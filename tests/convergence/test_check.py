"""`check_rate` from training loops to verdicts, its gate, its folder and its pictures."""

import functools
import io
import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.convergence import (
    INCONCLUSIVE,
    REACHED,
    SLOWER,
    Recorder,
    bounds,
    check_rate,
    gradient_product,
    supports,
)
from interpretable_sgd.convergence.run_store import fingerprint

HORIZONS = [64, 128, 256, 512]


def quadratic(horizon, seed, start, *, eta=2.0, power=0.5, bias=0.0, stuck=False):
    """SGD on w^2 / 2 in three coordinates, with noise of variance 1; L = mu = 1."""
    rng = np.random.default_rng(seed)
    w = np.full(3, 2.0 if start == "far" else 0.1)
    noise = rng.standard_normal((horizon, 3))
    lr = eta / horizon**power
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    recorder = Recorder(optimizer, horizon=horizon, seed=seed)
    for u in noise:
        recorder.step(w @ w / 2, gradient=functools.partial(np.dot, w, w))
        if not stuck:
            w = w - lr * (w + bias + u)
    return recorder


def check(seeds=12, **options):
    train = functools.partial(quadratic, **options)
    return check_rate(train, horizons=HORIZONS, seeds=seeds, progress=False)


def test_sgd_reaches_its_rate_and_what_is_broken_does_not():
    found = check()
    assert found.verdict == REACHED
    assert found.window == tuple(HORIZONS)
    assert found.interval[0] < -0.5 < found.interval[1] + 0.1
    assert found.slope in [rate.slope for rate in found.rates.values()]
    # A constant step, a bias, no step at all: each has a floor.
    assert check(eta=0.3, power=0.0).verdict == SLOWER
    assert check(bias=0.8).verdict == SLOWER
    assert check(stuck=True).verdict == SLOWER


def test_the_near_start_shows_what_the_far_one_hides():
    """Steps of order 1 / T: from afar nothing is learned; nearby that looks like convergence."""
    found = check_rate(
        functools.partial(quadratic, eta=4.0, power=1.0),
        horizons=HORIZONS,
        seeds=12,
        time_constants=math.inf,
        progress=False,
    )
    assert found.rates["near"].verdict == REACHED
    assert found.rates["far"].verdict == SLOWER == found.verdict
    assert "from far" in found.reason


def test_there_is_no_verdict_before_the_window():
    """eta T = 1.6 to 4.5 time constants of mu = 1, of which the gate counts 3/4."""
    found = check(eta=0.2)
    assert found.verdict == INCONCLUSIVE
    assert found.time_constants == pytest.approx(0.75 * 0.2 * 8, rel=0.01)
    assert "too early to say: the shortest runs last 1.2 time constants" in found.reason


def test_horizons_before_the_window_are_left_out_while_three_remain():
    found = check_rate(
        functools.partial(quadratic, eta=0.4),
        horizons=[16, 64, 128, 256, 512],
        seeds=8,
        progress=False,
    )
    assert found.window == (128, 256, 512)
    assert found.time_constants == pytest.approx(0.75 * 0.4 * 128**0.5, rel=0.01)
    assert [row["judged"] for row in found.table[:5]] == [False, False, True, True, True]


def test_the_first_part_of_a_run_may_be_left_out():
    """What comes before a settled phase, say: here a descent that hides everything else."""

    def train(horizon, seed, start):
        recorder, rng = Recorder(horizon=horizon, seed=seed), np.random.default_rng(seed)
        for t in range(horizon):
            value = 100.0 if t < horizon // 2 else rng.gamma(4, 0.25) / horizon**0.5
            recorder.step(0.0, gradient=lambda value=value: value)
        return recorder

    options = {"horizons": HORIZONS, "seeds": 8, "time_constants": 9, "progress": False}
    assert check_rate(train, **options).verdict == SLOWER
    assert check_rate(train, since=0.5, **options).verdict == REACHED


def test_a_loss_below_its_lower_bound_opens_no_gate():
    train = functools.partial(quadratic)
    found = check_rate(train, horizons=HORIZONS, seeds=8, least_loss=1e6, progress=False)
    assert math.isnan(found.time_constants) and found.verdict == INCONCLUSIVE


def test_numbers_alone_need_the_time_constants():
    def train(horizon, seed, start):
        return np.random.default_rng(seed).gamma(100, 0.01) / horizon**0.5

    unknown = check_rate(train, horizons=HORIZONS, seeds=8, progress=False)
    assert unknown.verdict == INCONCLUSIVE
    assert "whether the rate is in force yet is unknown" in unknown.reason
    known = check_rate(train, horizons=HORIZONS, seeds=8, time_constants=4, progress=False)
    assert known.verdict == REACHED
    assert math.isnan(known.bound_ratio)


def test_an_adaptive_optimizer_is_gated_by_how_far_it_came_down():
    def train(horizon, seed, start, rate=1.0):
        generator = torch.Generator().manual_seed(seed)
        w = torch.full((3,), 2.0 if start == "far" else 0.1)
        optimizer = torch.optim.Adam([w], lr=rate / horizon**0.5)
        recorder = Recorder(optimizer, horizon=horizon, readings=16, seed=seed)
        for _ in range(horizon):
            w.grad = w + torch.randn(3, generator=generator)
            recorder.step(0.0, gradient=lambda: float(w @ w))
            optimizer.step()
        return recorder

    options = {"horizons": [32, 64, 128], "seeds": 8, "progress": False}
    assert check_rate(train, **options).time_constants > 3
    early = check_rate(functools.partial(train, rate=0.01), **options)
    assert early.time_constants < 3 and early.verdict == INCONCLUSIVE


def test_a_check_that_is_broken_off_goes_on(tmp_path):
    calls = itertools.count()

    def train(horizon, seed, start):
        if next(calls) == 20:
            raise KeyboardInterrupt
        return quadratic(horizon, seed, start)

    options = {"horizons": [16, 32, 64], "seeds": 8, "progress": False}
    whole = check_rate(quadratic, **options)
    with pytest.raises(KeyboardInterrupt):
        check_rate(train, folder=tmp_path / "runs", **options)
    resumed = check_rate(train, folder=tmp_path / "runs", **options)
    assert next(calls) == 21 + 28
    assert resumed.runs == whole.runs and resumed.rates == whole.rates
    assert not list((tmp_path / "runs").glob("*.part"))
    with pytest.raises(ValueError, match=r"folder '.*runs' holds runs of another train function"):
        check_rate(functools.partial(quadratic, eta=1.0), folder=tmp_path / "runs", **options)


def test_fingerprints_see_constants_and_code():
    one, two = 1.0, 2.0
    assert fingerprint(lambda T: one * T) != fingerprint(lambda T: two * T)
    assert fingerprint(functools.partial(quadratic, eta=1)) != fingerprint(quadratic)
    assert fingerprint(quadratic) == fingerprint(quadratic)
    assert fingerprint(max) == fingerprint(max)


def test_the_bound_of_theorem_a_holds_and_is_shown(tmp_path):
    """D = |w_0|^2 / 2, L = 1, variance 3."""

    def bound(T, start):
        gap = 3 * (2.0 if start == "far" else 0.1) ** 2 / 2
        return bounds.theorem_a(gap, 1.0, 2 / T**0.5, T, 3.0)

    found = check_rate(quadratic, horizons=HORIZONS, seeds=8, bound=bound, progress=False)
    assert 0.1 < found.bound_ratio < 1
    assert f"bound: at most {found.bound_ratio:.2f} of it is reached" in str(found)
    assert all(row["mean"] < row["bound"] for row in found.table)


def test_a_check_is_a_table_a_text_and_a_picture(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    found, other = check(seeds=8), check(seeds=8, eta=0.3, power=0.0)
    assert [row["start"] for row in found.table] == ["far"] * 4 + ["near"] * 4
    assert all(row["low"] < row["mean"] < row["high"] for row in found.table)
    text = str(found)
    assert "at least as fast as T^-0.5" in text and "from near: slope" in text
    assert "slower than T^-0.5" in str(other)
    found.plot(tmp_path / "rate.png", beside=[other])
    image = matplotlib.image.imread(tmp_path / "rate.png")
    # Curves of two optimizers in two colours are there, on white.
    colours = {tuple(c.tolist()) for c in (image[..., :3].reshape(-1, 3) * 255).round().astype(int)}
    assert {(0, 114, 178), (213, 94, 0)} <= colours
    assert image[2, 2, :3].tolist() == [1, 1, 1]
    found.plot(buffer := io.BytesIO())
    assert buffer.getvalue()


def test_the_table_is_a_frame_where_pandas_is():
    pandas = pytest.importorskip("pandas")
    frame = check(seeds=8).frame()
    assert isinstance(frame, pandas.DataFrame) and len(frame) == 8


def test_progress_is_on_the_error_stream(capsys):
    options = {"horizons": [8, 16, 32], "seeds": 8, "name": "SGD"}
    check_rate(quadratic, **options)
    seen = capsys.readouterr()
    assert "SGD: 48 of 48 runs, T = 32 from near" in seen.err and not seen.out
    check_rate(quadratic, progress=False, **options)
    assert not capsys.readouterr().err


def digits():
    """Softmax regression on scikit-learn's digits, as their first six principal components."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    images = images[:400] - images[:400].mean(0)
    x = torch.tensor(20 * np.linalg.svd(images, full_matrices=False)[0][:, :6])
    return x, torch.tensor(labels[:400])


@pytest.fixture(scope="module")
def regression():
    """The loss with a ridge of .05, as F and on rows, and its optimum on all connections."""
    x, y = digits()

    def loss(net, rows=slice(None)):
        ridge = sum((p**2).sum() for p in net.parameters())
        return cross_entropy(net(x[rows]), y[rows]) + 0.05 / 2 * ridge

    best = nn.Linear(6, 10).double()
    optimizer = torch.optim.LBFGS(best.parameters(), max_iter=300, tolerance_grad=1e-9)

    def closure():
        optimizer.zero_grad()
        value = loss(best)
        value.backward()
        return value

    optimizer.step(closure)
    return loss, best


class Starving(InterpretableSGD):
    """Row 3 never moves, but for what the cut empties."""

    def step(self, closure=None):
        weight = self.param_groups[0]["params"][0]
        before = weight[3].detach().clone()
        super().step(closure)
        weight.data[3] = torch.where(weight[3] == 0, 0.0, before)


def routed_then_settled(regression, horizon, seed, start, *, kind, lr, gaps):
    """A quarter of the run is routed, the rest is SGD on four connections a class.

    F - inf F where a run settles goes into `gaps`, by horizon and start.
    """
    loss, best = regression
    generator = torch.Generator().manual_seed(0)
    net = nn.Linear(6, 10).double()
    distance = 2.0 if start == "far" else 0.1
    with torch.no_grad():
        for p, q in zip(net.parameters(), best.parameters(), strict=True):
            p.copy_(q + distance * torch.randn(p.shape, generator=generator))
    generator.manual_seed(seed)
    clock = {"form": 0, "settle": horizon // 4}
    optimizer = kind(net.parameters(), lr=lr(horizon), block_size=4, **clock)
    recorder = Recorder(optimizer, horizon=horizon, readings=16, seed=seed)

    def gradient():
        return gradient_product(net, loss, weights=supports(net, optimizer))

    for step in range(horizon):
        optimizer.zero_grad()
        value = loss(net, torch.randint(400, (4,), generator=generator))
        value.backward()
        recorder.step(value, gradient=gradient)
        optimizer.step()
        if step == horizon // 4:
            assert optimizer.phase == "settle"
            gaps[horizon, start].append((loss(net) - loss(best)).item())
    assert optimizer.guarantee().theorem == "H"
    optimizer.detach()
    return recorder


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "verdict"), [(InterpretableSGD, REACHED), (Starving, SLOWER)])
def test_digits_from_a_training_loop_to_a_verdict(regression, kind, verdict):
    """Theorem H holds, in rate and in its bound; an optimizer that starves a row is rejected.

    The features are white, so L <= 1 / 2 + ridge; and sum_c g_icm^2 <= 2 x_im^2, of 6 features of
    mean square 1 and the bias, so that batches of 4 have a variance of at most 7 * 2 / 4.
    """
    gaps = defaultdict(list)

    def lr(T):
        return 0.7 * (128 / T) ** 0.5

    def bound(T, start):
        return bounds.theorem_h(max(gaps[T, start]), 0.55, lr(T), T - T // 4, 3.5)

    found = check_rate(
        functools.partial(routed_then_settled, regression, kind=kind, lr=lr, gaps=gaps),
        horizons=[128, 256, 512],
        seeds=8,
        since=0.25,
        least_loss=regression[0](regression[1]).item(),
        bound=bound,
        progress=False,
    )
    assert found.verdict == verdict, str(found)
    if verdict == REACHED:
        assert 0 < found.bound_ratio < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizons": [8, 16]}, r"horizons must be at least 3, got \[8, 16\]"),
        ({"horizons": [8, 32, 16]}, r"positive and increasing, got \[8, 32, 16\]"),
        ({"seeds": 7}, "seeds must be at least 8, for an interval, got 7"),
        ({"starts": ()}, r"starts must be one or more different names, got \(\)"),
        ({"starts": "far"}, "starts must be one or more different names, got 'far'"),
        ({"since": 1.0}, r"since must be in \[0, 1\), got 1.0"),
        ({"measure": "norm"}, "nothing is recorded as 'norm'"),
    ],
)
def test_arguments_out_of_range(change, message):
    options = {"horizons": [8, 16, 32], "seeds": 8, "progress": False} | change
    with pytest.raises((ValueError, KeyError), match=message):
        check_rate(quadratic, **options)


def test_what_train_returns_is_checked():
    options = {"horizons": [8, 16, 32], "seeds": 8, "progress": False}
    with pytest.raises(TypeError, match="train must return a Recorder or a number, got NoneType"):
        check_rate(lambda T, seed, start: None, **options)
    with pytest.raises(ValueError, match="train counted 4 steps in a run of horizon 8"):
        check_rate(lambda T, seed, start: quadratic(4, seed, start), **options)

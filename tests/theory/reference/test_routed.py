"""The judge's simulation of the routed optimizer, against the literal twin and autograd."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from tests.optimizer.literal_routed import RoutedTwin
from theory.claim import Verdict
from theory.claims.routed_rates import CASES, CLAIMS, check
from theory.claims.settled import softmax_head
from theory.reference import bounds
from theory.reference.routed import Head, Routing, State, run, step


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("guard", [False, True])
def test_a_run_is_the_literal_twins(guard, magnitude):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 6)), rng.integers(3, size=12)
    head = Head(x, y, 3, decay=0.03)
    routing = Routing(2, momentum=0.9, guard=guard, magnitude=magnitude)
    W = 0.5 * rng.standard_normal((1, 3, 6))
    W[0, 1] = 0.0
    state = State(W.copy())
    twin = RoutedTwin(
        W[0].tolist(),
        block_size=2,
        momentum=0.9,
        weight_decay=0.03,
        guard=guard,
        magnitude=magnitude,
    )
    for time in range(60):
        if time == 40:
            state.settle(2)
            twin.settle()
            np.testing.assert_array_equal(state.support[0], twin.S)
        index = rng.integers(12, size=(1, 4))
        delta = head.delta(state.W, index)[0] / 4
        step(head, routing, state, 0.2, index, 0.002)
        twin.step(x[index[0]].tolist(), delta.tolist(), 0.2, narrow=0.002)
        np.testing.assert_allclose(state.W[0], twin.W, atol=1e-12)
        np.testing.assert_allclose(state.buffer[0], twin.buffer, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_head_is_what_autograd_says(outputs):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((9, 4)), rng.integers(max(2, outputs), size=9)
    head, W = Head(x, y, outputs, decay=0.1), rng.standard_normal((2, outputs, 4))

    def loss(w):
        z, t = torch.from_numpy(x) @ w.T, torch.from_numpy(y)
        data = (
            binary_cross_entropy_with_logits(z[:, 0], t.double())
            if outputs == 1
            else cross_entropy(z, t)
        )
        return data + 0.05 * w.square().sum()

    for s in range(2):
        w = torch.from_numpy(W[s]).requires_grad_()
        value = loss(w)
        (gradient,) = torch.autograd.grad(value, w)
        H = torch.autograd.functional.hessian(loss, w.detach()).reshape(outputs * 4, -1)
        assert head.value(W)[s] == pytest.approx(value.item())
        np.testing.assert_allclose(head.gradient(W)[s], gradient, atol=1e-12)
        np.testing.assert_allclose(head.hessian(W)[s], H, atol=1e-12)
        assert np.linalg.eigvalsh(H)[-1] <= head.L
    single = head.delta(W)[..., None] * x[:, None, :]
    np.testing.assert_allclose(head.variance(W), single.var(1), atol=1e-12)


def test_minimisers_are_stationary_on_their_supports():
    head, rng = softmax_head(0), np.random.default_rng(0)
    support = rng.random((5, 3, 6)) < 0.5
    W = head.minimiser(support)
    assert not W[~support].any()
    assert np.abs(head.gradient(W)[support]).max() < 1e-12


def test_a_window_averages_its_own_steps_and_weights_them():
    head, rng = softmax_head(0), np.random.default_rng(0)
    start = rng.standard_normal((2, 3, 6))
    measures = {"time": lambda moment: np.full(2, float(moment.time))}
    how = {"batch": None, "measures": measures, "window": 4}
    plain = run(head, Routing(2), 0.1, 8, start, rng, **how)
    weighted = run(head, Routing(2), lambda t: 0.1 * t, 8, start, rng, by_eta=True, **how)
    np.testing.assert_allclose(plain.means["time"], 5.5)
    np.testing.assert_allclose(weighted.means["time"], (16 + 25 + 36 + 49) / 22)
    np.testing.assert_array_equal(plain.maxima["time"], 7)


def test_bounds_of_schedules_prefixes_and_cuts():
    etas = np.array([0.5, 0.25])
    assert bounds.theorem_a_schedule(1.0, 2.0, etas, 0.4) == pytest.approx(2.25 / 0.75)
    with pytest.raises(ValueError, match="eta must be in"):
        bounds.theorem_a_schedule(1.0, 4.0, etas, 0.4)
    prefix = bounds.theorem_i(1.0, 2.0, np.array([0.1, 0.2]), np.ones(2), np.full((2, 3), 0.1))
    assert prefix == pytest.approx(1 + 2 * 0.3 + 2 * (0.3 + 2 * 0.03))
    x, h = np.array([[1.0, 2.0]]), np.array([[0.25]])
    jump = bounds.cut_jump(np.array([[3.0, 1.0]]), np.array([[0.5, -1.0]]), x, h, np.ones((1, 2)))
    assert jump == pytest.approx(-1.5 + 1.0 + 2 * 0.25 * (9 + 4))


@pytest.mark.parametrize("name", ["rate-settled", "control-settled-plain-norm", "control-routed"])
def test_the_routed_optimizer_is_judged_rightly(name):
    claim = next(claim for claim in CLAIMS if claim.name == name)
    found = claim(True, 1)
    assert Verdict(claim, found).as_documented, found.note
    case = next(case for case in CASES if case.name == name)
    assert check(case, True, 1) == found

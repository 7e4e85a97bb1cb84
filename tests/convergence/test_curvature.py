"""The largest curvature against dense Hessians."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.convergence import largest_curvature, top_eigenvalue

x = torch.randn(60, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
y = torch.randint(3, (60,), generator=torch.Generator().manual_seed(2))


def loss(model):
    return cross_entropy(model(x), y)


def net(seed, activation):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 12), activation, nn.Linear(12, 3)).double()


def dense(model, scales=None):
    """E^1/2 H E^1/2 in full."""
    named = dict(model.named_parameters())
    sizes = [p.numel() for p in named.values()]

    def of(flat):
        parts = [v.view_as(p) for v, p in zip(flat.split(sizes), named.values(), strict=True)]
        return cross_entropy(functional_call(model, dict(zip(named, parts, strict=True)), (x,)), y)

    flat = torch.cat([p.detach().flatten() for p in named.values()])
    H = torch.autograd.functional.hessian(of, flat)
    if scales is None:
        return H
    roots = [torch.full((p.numel(),), scales.get(n, 0.0) ** 0.5) for n, p in named.items()]
    root = torch.cat(roots).double()
    return root[:, None] * H * root


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh()])
@pytest.mark.parametrize("seed", range(5))
def test_ten_products_are_within_ten_per_cent_of_the_dense_eigenvalue(seed, activation):
    model = net(seed, activation)
    exact = float(torch.linalg.eigvalsh(dense(model))[-1])
    found, vector = largest_curvature(model, loss, seed=seed)
    assert 0.9 * exact <= found <= exact * (1 + 1e-9)
    # From the vector of the last reading, three products do.
    again, _ = largest_curvature(model, loss, start=vector, steps=3)
    assert found - 1e-9 <= again <= exact * (1 + 1e-9)


def test_it_is_followed_along_a_run_within_ten_per_cent():
    """Readings ten steps apart, as `Conditions` takes them: from the vector before, 4 products."""
    model = net(0, nn.Tanh())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    vector, ratios = None, []
    for step in range(101):
        if step % 10 == 0:
            exact = float(torch.linalg.eigvalsh(dense(model))[-1])
            steps = 10 if vector is None else 4
            found, vector = largest_curvature(model, loss, start=vector, steps=steps)
            ratios.append(found / exact)
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    assert min(ratios) >= 0.9 and max(ratios) <= 1 + 1e-9


def test_learning_rates_of_param_groups_scale_it_and_what_does_not_move_does_not_count():
    model = net(0, nn.Tanh())
    scales = {"0.weight": 0.3, "0.bias": 0.1, "2.weight": 0.02}
    exact = float(torch.linalg.eigvalsh(dense(model, scales))[-1])
    assert largest_curvature(model, loss, scales=scales, steps=40)[0] == pytest.approx(exact)
    assert largest_curvature(model, loss, scales={})[0] == 0
    assert largest_curvature(model, lambda m: m[0].weight.sum())[0] == 0


def test_the_largest_is_meant_not_the_largest_in_magnitude():
    A = torch.diag(torch.tensor([-9.0, -1.0, 2.0]))
    value, vector = top_eigenvalue(lambda v: A @ v, torch.ones(3))
    assert value == pytest.approx(2.0, rel=1e-5)
    assert vector.abs().tolist() == pytest.approx([0, 0, 1], abs=1e-3)


def test_nothing_is_left_behind_and_a_routed_model_can_be_read():
    model = net(0, nn.ReLU())
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, block_size=2)
    for _ in range(3):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    plain = net(0, nn.ReLU())
    plain.load_state_dict(model.state_dict())
    assert largest_curvature(model, loss)[0] == pytest.approx(largest_curvature(plain, loss)[0])
    assert all(p.grad.equal(before[name]) for name, p in model.named_parameters())


def test_errors_and_what_is_not_a_number():
    with pytest.raises(ValueError, match="start must not be 0"):
        top_eigenvalue(lambda v: v, torch.zeros(3))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        top_eigenvalue(lambda v: v, torch.ones(3), steps=0)
    value, _ = top_eigenvalue(lambda v: v * float("nan"), torch.ones(3))
    assert value != value

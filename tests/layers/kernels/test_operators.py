"""The registered operators, the choice among implementations, and the selection rule."""

import logging
import subprocess
import sys

import pytest
import torch

from interpretable_sgd.layers.kernels import autograd, dispatch, operators
from interpretable_sgd.layers.top_k import rank, select


@pytest.fixture
def operands():
    torch.manual_seed(0)
    x = torch.randn(6, 9, requires_grad=True)
    weight = torch.randn(4, 9, requires_grad=True)
    y, kept = operators.routed_linear(x, weight, 3, True)
    return x, weight, torch.randn_like(y).requires_grad_(), kept


def test_operators_are_well_registered(operands):
    x, weight, grad_y, kept = operands
    torch.library.opcheck(operators.routed_linear, (x, weight, 3, True))
    torch.library.opcheck(operators.routed_linear, (x, weight, 3, False))
    torch.library.opcheck(operators.routed_sum, (x, weight, kept))
    torch.library.opcheck(operators.input_grad, (grad_y, weight, kept))
    torch.library.opcheck(operators.weight_grad, (grad_y, x, kept))


@pytest.mark.parametrize("name", ["RoutedSum", "InputGrad", "WeightGrad"])
def test_derivatives_of_the_derivatives(name, operands):
    x, weight, grad_y, kept = operands
    pair = {"RoutedSum": (x, weight), "InputGrad": (grad_y, weight), "WeightGrad": (grad_y, x)}
    left, right = (t.detach().double().requires_grad_() for t in pair[name])

    def run(left, right):
        return getattr(autograd, name).apply(left, right, kept)

    assert torch.autograd.gradcheck(run, (left, right))
    assert torch.autograd.gradgradcheck(run, (left, right))


def test_many_units_need_wider_indices():
    x, weight = torch.rand(2, 40_000), torch.rand(3, 40_000)
    _, kept = operators.routed_linear(x, weight, 2, True)
    assert kept.dtype == torch.int32
    assert torch.equal(kept.long(), select(x[:, None] * weight, 2, at_most=True))


@pytest.mark.parametrize("name", ["reference", "numba", "auto"])
def test_the_variable_chooses(monkeypatch, name):
    monkeypatch.setenv(dispatch.VARIABLE, name)
    if name == "numba":
        pytest.importorskip("numba")
    found = dispatch.implementation("cpu", torch.float32)
    if name != "auto":
        assert found.__name__.rpartition(".")[2] == {"numba": "numba_cpu"}.get(name, name)


def test_a_wrong_variable_is_named(monkeypatch):
    monkeypatch.setenv(dispatch.VARIABLE, "fast")
    with pytest.raises(ValueError, match=r"INTERPRETABLE_SGD_KERNELS must be one of .* got 'fast'"):
        dispatch.implementation("cpu", torch.float32)
    monkeypatch.setenv(dispatch.VARIABLE, "triton")
    with pytest.raises(ValueError, match=r"=triton does not compute in torch.float32 on cpu"):
        dispatch.implementation("cpu", torch.float32)


def test_unknown_devices_and_dtypes_run_on_the_reference():
    assert dispatch.implementation("meta", torch.float32).__name__.endswith("reference")
    assert dispatch.implementation("cuda", torch.float64).__name__.endswith("reference")


def test_a_missing_compiler_is_logged_once(monkeypatch, caplog):
    monkeypatch.setattr(dispatch.importlib.util, "find_spec", lambda _: None)
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)
    dispatch._installed.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                found = dispatch.implementation("cpu", torch.float32)
                assert found.__name__.endswith("reference")
    finally:
        dispatch._installed.cache_clear()
    assert [r.message for r in caplog.records] == [
        "numba is not installed: routed layers run on plain torch, many times slower; "
        'pip install "interpretable-sgd[kernels]"'
    ]


def test_import_loads_no_kernels():
    code = (
        "import sys, interpretable_sgd; "
        "print([m for m in sys.modules if m == 'numba' or m.endswith(('_kernels', '_cpu', '_cuda'))"
        " and m.startswith('interpretable_sgd')])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_threads_of_python_may_call_at_once():
    from concurrent.futures import ThreadPoolExecutor

    x, weight = torch.rand(64, 256), torch.rand(64, 256)
    expected = operators.routed_linear(x, weight, 5, True)[0]
    with ThreadPoolExecutor(4) as pool:
        for y, _ in pool.map(lambda _: operators.routed_linear(x, weight, 5, True), range(8)):
            assert torch.equal(y, expected)


@pytest.mark.parametrize("at_most", [True, False])
def test_selection_is_the_maximum_over_all_subsets(at_most):
    from itertools import combinations

    torch.manual_seed(0)
    for products in torch.randn(20, 6):
        sizes = range(4) if at_most else [3]
        best = max(sum(c) for n in sizes for c in combinations(products.tolist(), n))
        units = select(products, 3, at_most=at_most)
        assert products[units[units >= 0]].sum().item() == pytest.approx(best)


def test_rank_puts_empty_slots_behind_negative_contributions():
    kept = torch.tensor([[[0, 2, -1]]])
    routes = rank(torch.tensor([[-1.0, 0.0, 2.0]]), torch.tensor([[1.0, 1.0, 1.0]]), kept)
    assert routes.units.tolist() == [[[2, 0, -1]]]
    assert routes.contributions.tolist() == [[[2.0, -1.0, 0.0]]]

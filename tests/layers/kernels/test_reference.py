"""Every implementation keeps the units of the reference, and the reference those of a loop."""

import importlib
import math

import pytest
import torch
from torch import Tensor

from interpretable_sgd.layers.kernels import reference


def operands(n: int, o: int, m: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, m, generator=generator), torch.randn(o, m, generator=generator)


def with_values(value: float) -> tuple[Tensor, Tensor]:
    x, weight = operands(9, 40, 70)
    x[2, 5] = x[4, 0] = value
    weight[3, 5] = weight[7, 69] = -value
    return x, weight


def strided() -> tuple[Tensor, Tensor]:
    x, weight = operands(66, 34, 70)
    return x[::2].t().contiguous().t(), weight[1::2, :].flip(0)


def tied() -> tuple[Tensor, Tensor]:
    x, weight = operands(12, 33, 130)
    return x.round(), weight.sign()


CASES = {
    "random": lambda: operands(17, 37, 200),
    "one lane over": lambda: operands(3, 33, 65),
    "wide": lambda: operands(5, 7, 700),
    "post-ReLU": lambda: (operands(17, 37, 200)[0].relu(), operands(17, 37, 200)[1]),
    "tied": tied,
    "constant": lambda: (torch.ones(4, 70), torch.ones(5, 70)),
    "zero": lambda: (torch.zeros(4, 70), operands(4, 5, 70)[1]),
    "negative": lambda: (operands(4, 5, 70)[0].abs(), -operands(4, 5, 70)[1].abs()),
    "denormal": lambda: (operands(9, 40, 70)[0] * 1e-30, operands(9, 40, 70)[1] * 1e-10),
    "overflow": lambda: (operands(9, 40, 70)[0] * 1e30, operands(9, 40, 70)[1] * 1e10),
    "NaN": lambda: with_values(math.nan),
    "Inf": lambda: with_values(math.inf),
    "strided": strided,
    "empty": lambda: operands(0, 5, 70),
    "single unit": lambda: operands(4, 5, 1),
}

IMPLEMENTATIONS = [
    pytest.param(("numba_cpu", "cpu"), id="numba"),
    pytest.param(("triton_cuda", "cuda"), id="triton", marks=pytest.mark.gpu),
]


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    name, device = request.param
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pytest.importorskip({"numba_cpu": "numba", "triton_cuda": "triton"}[name])
    return importlib.import_module(f"interpretable_sgd.layers.kernels.{name}"), device


def loop(x: Tensor, weight: Tensor, k: int, at_most: bool) -> list[list[set[int]]]:
    """Kept units by sorting Python floats: NaN first, then larger, then lower index."""

    def kept(products: list[float]) -> set[int]:
        order = sorted(
            (m for m, p in enumerate(products) if not at_most or not p <= 0),
            key=lambda m: (
                (not math.isnan(products[m]), -products[m], m)
                if not math.isnan(products[m])
                else (False, 0, m)
            ),
        )
        return set(order[:k])

    return [[kept((row * w).tolist()) for w in weight] for row in x]


def units(kept: Tensor) -> list[list[set[int]]]:
    return [[set(slots) - {-1} for slots in row] for row in kept.tolist()]


@pytest.mark.parametrize("at_most", [True, False], ids=["at_most_k", "exactly_k"])
@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("case", CASES)
def test_reference_keeps_what_a_loop_keeps(case, k, at_most):
    x, weight = CASES[case]()
    k = min(k, x.shape[1])
    y, kept = reference.forward(x, weight, k, at_most)
    expected = loop(x, weight, k, at_most)
    assert units(kept) == expected
    sums = [
        [sum((x[n] * weight[o])[list(u)].double().tolist()) for o, u in enumerate(row)]
        for n, row in enumerate(expected)
    ]
    expected_y = torch.tensor(sums, dtype=torch.float64).view(y.shape)
    torch.testing.assert_close(y.double(), expected_y, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("at_most", [True, False], ids=["at_most_k", "exactly_k"])
@pytest.mark.parametrize("k", [1, 5, 30, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_reference(case, dtype, k, at_most, implementation):
    kernels, device = implementation
    if device == "cuda" and dtype == torch.float64:
        pytest.skip("float64 runs on the reference")
    x, weight = (t.to(device, dtype) for t in CASES[case]())
    k = min(k, x.shape[1])
    y, kept = kernels.forward(x, weight, k, at_most)
    expected_y, expected_kept = reference.forward(x, weight, k, at_most)
    assert kept.dtype == expected_kept.dtype
    assert torch.equal(kept.sort().values, expected_kept.sort().values)
    assert ((kept >= 0).int().diff() <= 0).all()  # empty slots come last
    torch.testing.assert_close(y, expected_y, equal_nan=True)

    generator = torch.Generator().manual_seed(1)
    grad_y = torch.randn(y.shape, generator=generator).to(device, dtype)
    for name, operand in (("input_grad", weight), ("weight_grad", x)):
        got = getattr(kernels, name)(grad_y, operand, kept)
        expected = getattr(reference, name)(grad_y, operand, kept)
        loose = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
        torch.testing.assert_close(got, expected, equal_nan=True, **loose)
    torch.testing.assert_close(
        kernels.routed_sum(x, weight, kept), expected_y, equal_nan=True, rtol=None, atol=None
    )


def test_result_does_not_depend_on_the_number_of_threads():
    numba_cpu = pytest.importorskip(
        "interpretable_sgd.layers.kernels.numba_cpu", exc_type=ImportError
    )
    x, weight = operands(128, 128, 256)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            y, kept = numba_cpu.forward(x, weight, 5, True)
            results.append(
                (y, kept, numba_cpu.input_grad(y, weight, kept), numba_cpu.weight_grad(y, x, kept))
            )
    finally:
        torch.set_num_threads(threads)
    for one, three in zip(*results, strict=True):
        assert torch.equal(one, three)

"""The Triton kernels under Triton's interpreter, which needs no device but checks their logic."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import itertools, math, torch
from interpretable_sgd.layers.kernels import reference, triton_cuda

torch.manual_seed(0)
random = torch.randn(5, 70), torch.randn(9, 70)
odd = torch.randn(5, 70), torch.randn(9, 70)
odd[0][2, 5] = math.nan
odd[0][3, 4] = odd[1][3, 5] = math.inf
tied = torch.randn(5, 130).round(), torch.randn(9, 130).sign()
tiny = random[0] * 1e-30, random[1] * 1e-10
strided = torch.randn(70, 10).t()[::2], torch.randn(18, 70)[::2]
halves = random[0].half(), random[1].half()
cases = {"random": random, "odd": odd, "tied": tied, "tiny": tiny, "strided": strided,
         "halves": halves, "few": (random[0][:, :3], random[1][:, :3]),
         "empty": (random[0][:0], random[1])}
for (name, (x, w)), k, at_most in itertools.product(cases.items(), (1, 3), (True, False)):
    y, kept = triton_cuda.forward(x, w, k, at_most)
    expected_y, expected = reference.forward(x, w, k, at_most)
    assert kept.dtype == expected.dtype, name
    assert torch.equal(kept.sort().values, expected.sort().values), (name, k, at_most)
    assert ((kept >= 0).int().diff() <= 0).all(), name
    torch.testing.assert_close(y, expected_y, equal_nan=True)
    torch.testing.assert_close(triton_cuda.routed_sum(x, w, kept), expected_y, equal_nan=True)
    g = torch.randn(y.shape).to(y.dtype)
    for gradient, operand in (("input_grad", w), ("weight_grad", x)):
        got = getattr(triton_cuda, gradient)(g, operand, kept)
        wanted = getattr(reference, gradient)(g, operand, kept)
        torch.testing.assert_close(got, wanted, equal_nan=True)
    print(name, k, at_most)
"""


def test_triton_agrees_with_the_reference():
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 32

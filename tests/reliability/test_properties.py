"""Drawn options, layers, shapes, dtypes and layouts: a named error, or a sound step."""

import math
import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.probabilities import (
    explore,
    fill,
    paper_probabilities,
    waterfill,
)

pytestmark = pytest.mark.filterwarnings("ignore:Algorithm 3", "ignore:.*found nothing to route")
NAMED = re.compile(r"^\S+ (must be|needs|must not)|Invalid|Nesterov momentum requires")
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def rarely(usual: st.SearchStrategy, wrong: st.SearchStrategy) -> st.SearchStrategy:
    """Mostly values that are right, so that most cases get beyond the door."""
    return st.integers(0, 19).flatmap(lambda n: wrong if n == 0 else usual)


def among(*names: str) -> st.SearchStrategy[str]:
    return rarely(st.sampled_from(names), st.just("other"))


LIMITS = rarely(
    st.one_of(st.none(), st.integers(0, 4), st.floats(0.01, 0.99), st.just(math.inf)),
    st.sampled_from([-1, 1.5, math.nan]),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "block_size": rarely(
            st.one_of(st.integers(1, 20), st.floats(0.01, 20)),
            st.sampled_from([0, -1, math.inf, math.nan]),
        ),
        "sparsity": rarely(st.floats(-50, 1), st.sampled_from([1.5, -math.inf, math.nan])),
        "layers": st.sampled_from(["head", "all", "none"]),
        "method": among("routed", "routed", "shared", "algorithm3"),
        "brake": LIMITS,
        "form": LIMITS,
        "settle": LIMITS,
        "exploration": rarely(st.floats(0, 0.99), st.sampled_from([1.0, -0.1, math.nan])),
        "shrink": rarely(st.floats(0, 1000), st.sampled_from([-1.0, math.inf])),
        "seed": rarely(st.integers(), st.just(0.5)),
        "momentum": rarely(st.floats(0, 0.99), st.just(-0.1)),
        "weight_decay": rarely(st.floats(0, 0.5), st.just(-0.1)),
        "nesterov": st.booleans(),
        "maximize": st.booleans(),
        "foreach": st.sampled_from([None, True, False]),
    },
)


@dataclass
class Problem:
    """A layer with torch's own forward, and an input for it."""

    layer: nn.Module
    input: Tensor


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    torch.manual_seed(draw(st.integers(0, 99)))
    dimensions = draw(st.integers(0, 3))
    groups = draw(st.sampled_from([1, 1, 2])) if dimensions else 1
    inputs, outputs = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 4))
    bias, dtype = draw(st.booleans()), draw(st.sampled_from(DTYPES))
    batch = draw(st.integers(0, 4))
    if not dimensions:
        layer: nn.Module = nn.Linear(inputs, outputs, bias, dtype=dtype)
        shape = [batch, *draw(st.lists(st.integers(1, 3), max_size=2)), inputs]
    else:
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
        layer = kind(
            inputs,
            outputs,
            draw(st.integers(1, 3)),
            stride=draw(st.integers(1, 2)),
            padding=draw(st.integers(0, 1)),
            dilation=draw(st.integers(1, 2)),
            groups=groups,
            bias=bias,
            padding_mode=draw(st.sampled_from(["zeros", "circular"])),
            dtype=dtype,
        )
        # Nothing is convolved in an empty batch padded in circles, by torch itself.
        shape = [max(1, batch), inputs, *[draw(st.integers(5, 6))] * dimensions]
    scale = draw(st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e3]))
    input = scale * torch.randn(shape, dtype=torch.float64)
    input = (input.abs() if draw(st.booleans()) else input).to(dtype)
    if draw(st.booleans()):
        input = input.mT.contiguous().mT if input.dim() > 1 else input
    if dimensions == 2 and draw(st.booleans()):
        layer, input = (part.to(memory_format=torch.channels_last) for part in (layer, input))
    return Problem(layer, input)


def step(problem: Problem, optimizer: InterpretableSGD) -> None:
    """One step, whose loss is bounded, and which must leave `.grad` as it was."""
    optimizer.zero_grad()
    problem.layer(problem.input).tanh().mean().nan_to_num().backward()
    gradients = [parameter.grad.clone() for parameter in problem.layer.parameters()]
    optimizer.step()
    for parameter, gradient in zip(problem.layer.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


@given(OPTIONS, problems())
def test_a_named_error_or_a_sound_step(options: dict[str, Any], problem: Problem) -> None:
    try:
        optimizer = InterpretableSGD(problem.layer.parameters(), lr=0.01, **options)
    except ValueError as error:
        assert NAMED.search(str(error)), error
        return
    try:
        for _ in range(5):
            step(problem, optimizer)
    finally:
        units, states = optimizer.routed_units(), optimizer.state.values()
        optimizer.detach()
    for parameter in problem.layer.parameters():
        assert parameter.isfinite().all()
    for read in units.values():
        assert ((read.probabilities >= 0) & (read.probabilities <= 1)).all()
        assert ((read.strength >= 0) & (read.strength <= 1)).all()
        if read.settled:
            connections = read.probabilities.sum(1)
            assert (connections <= read.block_size).all()
    held = [value for state in states for value in state.values() if isinstance(value, Tensor)]
    assert all(value.isfinite().all() for value in held)


# As wide as float64 squares may get.
CONSTANTS = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-300, 1e300), st.floats(0.1, 10)), min_size=1, max_size=12
).map(lambda values: torch.tensor([values], dtype=torch.float64))
SPARSITIES = st.one_of(st.just(1.0), st.floats(-100, 1))


@given(CONSTANTS, st.floats(0.01, 15), SPARSITIES, st.floats(0, 0.99))
def test_probabilities_of_any_constants(
    constants: Tensor, block_size: float, sparsity: float, exploration: float
) -> None:
    """They sum to the block and keep the order of the constants."""
    pi = waterfill(constants, block_size, sparsity)
    positive = int((constants > 0).sum())
    assert ((pi >= 0) & (pi <= 1)).all() and not pi[constants == 0].any()
    assert float(pi.sum()) == pytest.approx(min(block_size, positive), rel=1e-6)
    ordered = pi[0, constants[0].argsort(stable=True)]
    assert (ordered.diff() >= -1e-9).all()
    spent = explore(fill(pi, constants, block_size), exploration, block_size)
    assert float(spent.sum()) == pytest.approx(min(block_size, pi.shape[1]), rel=1e-6)


@given(CONSTANTS, st.floats(-100, 0.999))
def test_literal_probabilities_of_any_constants(constants: Tensor, sparsity: float) -> None:
    """At most one connection of the whole layer, on average, for s >= 0."""
    pi = paper_probabilities(constants / constants.max().clamp(min=1e-300), sparsity)
    assert ((pi >= 0) & (pi <= 1)).all()
    if sparsity >= 0:
        assert pi.sum() <= 1 + 1e-9

"""The installed optimizer on softmax regressions, all runs in the rows of one Linear layer.

A run is a group of O rows with samples of its own; rows are routed, faded and cut on their own, so
a step of the optimizer is a step of every run. What is measured is the judge's, afterwards.
"""

import numpy as np
import torch
from torch import nn

from interpretable_sgd import InterpretableSGD
from theory.reference.problems import Array
from theory.reference.routed import Head, Measure, Moment, Routing, Run, State


def run_optimizer(
    head: Head,
    block: int,
    eta: float,
    steps: int,
    start: Array,
    rng: np.random.Generator,
    *,
    settle: int,
    measures: dict[str, Measure],
    window: int,
) -> Run:
    """Train weights (s, O, M) for T steps on single samples, settling at T_0; as `routed.run`.

    Args:
        block: K.
        settle: T_0.
        measures, window: what to average, and from which step on.
    """
    seeds, outputs, inputs = start.shape
    layer = nn.Linear(inputs, seeds * outputs, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(torch.from_numpy(start.reshape(-1, inputs)))
    optimizer = InterpretableSGD(
        layer.parameters(),
        lr=eta,
        weight_decay=head.decay,
        block_size=block,
        form=0,
        settle=settle,
    )
    x, y = torch.from_numpy(head.x), torch.from_numpy(head.y)
    path = np.empty((steps + 1, *start.shape))
    for time in range(steps):
        path[time] = layer.weight.detach().numpy().reshape(start.shape)
        index = torch.from_numpy(rng.integers(len(y), size=seeds))
        own = layer(x).view(len(y), seeds, outputs)[index, torch.arange(seeds)]
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(own, y[index], reduction="sum"))
        optimizer.step()
    path[steps] = layer.weight.detach().numpy().reshape(start.shape)
    optimizer.detach()
    state = State(path[steps])
    means = {name: np.zeros(seeds) for name in measures}
    maxima = {name: np.full(seeds, -np.inf) for name in measures}
    for time in range(window, steps):
        if time == settle:
            # A weight of the support may be 0 when it is opened, but hardly ever at the end.
            state.support, state.settled = path[steps] != 0, True
        state.W = path[time]
        moment = Moment(head, Routing(block), state, eta, time)
        for name, measure in measures.items():
            value = measure(moment)
            means[name] += value / (steps - window)
            maxima[name] = np.maximum(maxima[name], value)
    state.W = path[steps]
    return Run(state, (path[settle], np.zeros_like(start)), means, maxima)

"""Processes with fewer batches than others, in `torch.distributed.algorithms.join.Join`."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from interpretable_sgd.optimizer.masked_layers import Routes

if dist.is_available():
    from torch.distributed.algorithms.join import JoinHook
else:
    JoinHook = object  # type: ignore[assignment,misc]


class Shadow(JoinHook):
    """What a process that has run out of batches does while others still step.

    It adds nothing to their statistics; in the end it takes over the state of one that was last, as
    DistributedDataParallel does with the parameters.

    Args:
        routes: of the optimizer.
        state: of the optimizer, by parameter.
    """

    def __init__(self, routes: Routes, state: Mapping[Tensor, dict[str, Any]]) -> None:
        self._routes, self._state = routes, state

    def main_hook(self) -> None:
        """Take part in the sums of one step of the others."""
        routed = self._routes.routed()
        if not routed:
            raise RuntimeError(
                "a process must take a step before it runs out of batches: what is routed is known "
                "from then on"
            )
        for parameter in routed:
            self._routes.observed(parameter)

    def post_hook(self, is_last_joiner: bool) -> None:
        """Have one state on all processes again."""
        parameters = list(self._state)
        device = parameters[0].device if parameters else torch.device("cpu")
        source = torch.tensor(dist.get_rank() if is_last_joiner else -1, device=device)
        dist.all_reduce(source, op=dist.ReduceOp.MAX)
        share((self._state[parameter] for parameter in parameters), int(source), device)


def share(states: Iterable[dict[str, Any]], source: int, device: torch.device) -> None:
    """Give every process the tensors and numbers that one of them has, in place."""
    for state in states:
        for key, value in sorted(state.items()):
            if isinstance(value, Tensor):
                dist.broadcast(value, source)
            elif value is not None:
                number = torch.tensor(value, dtype=torch.float64, device=device)
                dist.broadcast(number, source)
                state[key] = type(value)(number)

"""Processes with fewer batches than others, in `torch.distributed.algorithms.join.Join`."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist

if dist.is_available():
    from torch.distributed.algorithms.join import JoinHook
else:
    JoinHook = object  # type: ignore[assignment,misc]


class StatisticsJoinHook(JoinHook):
    """What a process that has run out of batches does while others still step.

    It joins their sums of statistics with zeros; in the end it takes over the state of one that was
    last, as DistributedDataParallel does with the parameters.

    Args:
        optimizer: an interpretable optimizer.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def main_hook(self) -> None:
        """Take part in the sums of one step of the others."""
        self._optimizer.join_sums()

    def post_hook(self, is_last_joiner: bool) -> None:
        """Have one state on all processes again."""
        optimizer = self._optimizer
        source = torch.tensor(
            dist.get_rank() if is_last_joiner else -1, device=optimizer.join_device
        )
        dist.all_reduce(source, op=dist.ReduceOp.MAX, group=optimizer.join_process_group)
        states = (optimizer.state[p] for g in optimizer.param_groups for p in g["params"])
        broadcast(states, int(source), optimizer.join_device)


def broadcast(states: Iterable[dict[str, Any]], source: int, device: torch.device) -> None:
    """Give every process the state that one of them has."""
    for state in states:
        held = [{key: value for key, value in state.items() if value is not None}]
        dist.broadcast_object_list(held, source, device=device)
        state.update(held[0])

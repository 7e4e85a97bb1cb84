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


class JoinMixin:
    """The part of an optimizer that `torch.distributed.algorithms.join.Join` asks for."""

    _layers: Any
    param_groups: list[dict[str, Any]]

    def tell_the_joined(self, has_batches: bool = True) -> list[int]:
        """Have processes without batches know how many statistics of each layer are summed."""
        own = [probe.size if has_batches else 0 for _, probe, _ in self._layers]
        if not hasattr(self, "_join_config"):
            return own
        sizes = torch.tensor(own, device=self.join_device)
        dist.all_reduce(sizes, op=dist.ReduceOp.MAX, group=self.join_process_group)
        return [int(size) for size in sizes]

    def join_sums(self) -> None:
        """Join the sums of one step of other processes, see `StatisticsJoinHook`.

        Raises:
            RuntimeError: before a first step.
        """
        if not self._layers.are_known:
            raise RuntimeError(
                "a process must take a step before it runs out of batches: what is routed is known "
                "from then on"
            )
        sizes = self.tell_the_joined(has_batches=False)
        for size, (weight, _, _) in zip(sizes, self._layers, strict=True):
            if size:
                dtype = torch.promote_types(weight.dtype, torch.float32)
                self._layers.replicas.sum(torch.zeros(size, dtype=dtype, device=weight.device))

    def join_hook(self, **_: Any) -> StatisticsJoinHook:
        """For `torch.distributed.algorithms.join.Join([ddp_model, optimizer])`."""
        return StatisticsJoinHook(self)

    @property
    def join_device(self) -> torch.device:
        """For `Join`: where the parameters are."""
        device: torch.device = self.param_groups[0]["params"][0].device
        return device

    @property
    def join_process_group(self) -> Any:
        """For `Join`: the processes of this model."""
        return self._layers.replicas.main

"""The processes that train copies of one model on different samples, and sums over them."""

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor

from interpretable_sgd.optimizer.sharding import is_sharded


class Replicas:
    """Sums over the processes that replicate a model: those of its DistributedDataParallel or FSDP2.

    Processes that happen to run beside each other and train models of their own are none.

    Attributes:
        given: the process group that the user named, or None.
        found: that of a DistributedDataParallel around the model, or None.
    """

    def __init__(self) -> None:
        self.given: Any = None
        self.found: Any = None
        self._meshes: list[Any] = []

    def of(self, weights: Sequence[Tensor]) -> None:
        """Note the groups over which sharded weights are spread."""
        sharded = next((weight for weight in weights if is_sharded(weight)), None)
        mesh = None if sharded is None else sharded.device_mesh  # type: ignore[attr-defined]
        self._meshes = [] if mesh is None else [mesh.get_group(dim) for dim in range(mesh.ndim)]

    @property
    def _groups(self) -> list[Any]:
        if not (dist.is_available() and dist.is_initialized()):
            return []
        if self.given is not None:
            return [self.given]
        if self._meshes:
            return self._meshes
        return [] if self.found is None else [self.found]

    @property
    def main(self) -> Any:
        """The process group of the model; all processes where none was found."""
        return self._groups[0] if self._groups else dist.group.WORLD

    @property
    def are_several(self) -> bool:
        """Whether another process may replicate the model."""
        return bool(self._groups)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum in place over all processes of the model, which must all ask."""
        for group in self._groups:
            dist.all_reduce(tensor, group=group)
        return tensor

    def gather(self, value: Any) -> list[Any]:
        """A picklable value of every process, which must all ask; [value] for a single one."""
        values = [value]
        for group in self._groups:
            found: list[Any] = [None] * dist.get_world_size(group)
            dist.all_gather_object(found, values, group=group)
            values = [value for part in found for value in part]
        return values

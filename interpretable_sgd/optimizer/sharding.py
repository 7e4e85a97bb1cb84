"""Weights that are sharded over processes (FSDP2): decided on whole, updated in parts.

A selection compares the connections of a row, so it is made from the whole weight, which is gathered,
and from statistics that every process holds whole. Gradient, momentum and update stay sharded.
"""

import torch.distributed as dist
from torch import Tensor

if dist.is_available():
    try:
        from torch.distributed.tensor import DTensor, Replicate
    except ImportError:  # torch 2.4 has them in a room of its own
        from torch.distributed._tensor import DTensor, Replicate  # type: ignore[attr-defined]


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor."""
    return dist.is_available() and isinstance(tensor, DTensor)


def gather(tensor: Tensor) -> Tensor:
    """A DTensor gathered from all its processes, which must all ask; other tensors as they are."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, the same on every process, in shape, dtype and parts as another.

    Args:
        tensor: as many elements as `like`.
        like: a parameter or its gradient.
    """
    tensor = tensor.to(like.device, like.dtype).view(like.shape)
    if not is_sharded(like):
        return tensor
    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    copies = [Replicate()] * mesh.ndim
    return DTensor.from_local(tensor, mesh, copies, run_check=False).redistribute(mesh, placements)


def stands_for(weight: Tensor, parameter: Tensor) -> bool:
    """Whether a layer that runs with a weight runs with the optimizer's parameter.

    While a layer of `fully_shard` runs, its weight is another tensor: its parameter gathered.
    """
    if weight is parameter:
        return True
    gathered = is_sharded(parameter) and not is_sharded(weight) and weight.is_leaf
    return gathered and weight.shape == parameter.shape

"""Tensors that lie in parts on several ranks (DTensor), and whole ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map


def gathered(state: Any) -> Any:
    """A nested state with every DTensor whole; every rank must ask."""
    return tree_map(lambda v: v.full_tensor() if isinstance(v, DTensor) else v, state)


def distributed(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, the same on every rank, in the parts of another."""
    if not isinstance(like, DTensor):
        return tensor
    tensor = tensor.to(like.device, like.dtype)
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that is here."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor

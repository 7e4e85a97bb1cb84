"""How ranks hold a net: each of them whole (DistributedDataParallel), or in parts (FSDP2).

Both give and take weights and optimizer states that are whole, as one process alone has them, so a
checkpoint does not know how many ranks wrote it. Every method is called by all ranks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Optimizer

from experiments.training.distributed import Ranks
from experiments.training.dtensor import distributed, gathered
from experiments.training.ema import Average, AverageOfParts, AverageOfWhole
from experiments.training.sync_batch_norm import shared

Build = Callable[[nn.Module], Optimizer]
IN_PARTS = "momentum_buffer"  # all that an SGD keeps in parts; the library's statistics are whole


class Whole:
    """A net that is whole on every rank, or on the only one.

    Args:
        model: on the device of the ranks; its batch norms become ones over all ranks.
        optimizer: of its parameters, or what makes it from the model.
        ranks: that train it.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer | Build, ranks: Ranks) -> None:
        self.model, self.forward = model, model
        if ranks.count > 1:
            self.model = shared(model, ranks.device)
            devices = [ranks.device] if ranks.device.type == "cuda" else None
            self.forward = DistributedDataParallel(self.model, devices)
        self.optimizer = optimizer if isinstance(optimizer, Optimizer) else optimizer(self.model)

    @property
    def trained(self) -> nn.Module:
        """The net, whole."""
        return self.model

    def average(self, decay: float) -> Average:
        """An average of the weights that begins now."""
        return AverageOfWhole(self.model, decay)

    def part(self, last: bool) -> AbstractContextManager[None]:
        """Around a part of a step's batch: ranks need each other's gradients after the last one."""
        wrapped = isinstance(self.forward, DistributedDataParallel)
        return self.forward.no_sync() if wrapped and not last else nullcontext()

    def weights(self) -> dict[str, Tensor]:
        """Every tensor of the net by name."""
        return dict(self.model.state_dict())

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave."""
        self.model.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """The optimizer's."""
        return self.optimizer.state_dict()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.optimizer.load_state_dict(dict(state))


class Parts:
    """A net of which every rank holds a part, and gathers a child when it runs (FSDP2).

    Args:
        model: as of `Whole`.
        build: makes the optimizer, which must see the parts.
        ranks: that train it.

    Raises:
        TypeError: the optimizer is there already, or is no SGD.
    """

    def __init__(self, model: nn.Module, build: Optimizer | Build, ranks: Ranks) -> None:
        if isinstance(build, Optimizer):
            raise TypeError(
                "optimizer must be a function of the model with parallel='fsdp', which splits the "
                f"parameters first, got {type(build).__name__}"
            )
        # a net in parts cannot be copied, and whoever judges it needs it whole
        self._whole = copy.deepcopy(model).cpu()
        self.model = self.forward = _split(shared(model, ranks.device), ranks)
        self.device = ranks.device
        self.optimizer = build(self.model)
        if not isinstance(self.optimizer, SGD):
            name = type(self.optimizer).__name__
            raise TypeError(f"optimizer must be an SGD with parallel='fsdp', got {name}")

    @property
    def trained(self) -> nn.Module:
        """A copy of the net as it is now, whole; every rank must ask."""
        return self._filled(self.weights())

    def average(self, decay: float) -> Average:
        """An average of the weights that begins now."""
        return AverageOfParts(self.model, decay, self._filled)

    def part(self, last: bool) -> AbstractContextManager[None]:
        """Around a part of a step's batch: ranks need each other's gradients after the last one."""
        assert isinstance(self.model, FSDPModule)
        self.model.set_requires_gradient_sync(last)
        return nullcontext()

    def weights(self) -> dict[str, Tensor]:
        """Every tensor of the net by name, gathered."""
        return gathered(self.model.state_dict())

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave."""
        set_model_state_dict(
            self.model, dict(weights), options=StateDictOptions(full_state_dict=True)
        )

    def state(self) -> dict[str, Any]:
        """The optimizer's, gathered."""
        return gathered(self.optimizer.state_dict())

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        split = {
            number: {
                k: distributed(v, parameters[number]) if k == IN_PARTS and v is not None else v
                for k, v in entries.items()
            }
            for number, entries in state["state"].items()
        }
        self.optimizer.load_state_dict({**state, "state": split})

    def _filled(self, weights: Mapping[str, Tensor]) -> nn.Module:
        model = copy.deepcopy(self._whole).to(self.device)
        model.load_state_dict(weights)
        return model


def _split(model: nn.Module, ranks: Ranks) -> nn.Module:
    mesh = init_device_mesh(ranks.device.type, (ranks.count,))
    for child in model.children():
        if any(True for _ in child.parameters()):
            fully_shard(child, mesh=mesh)
    return fully_shard(model, mesh=mesh)

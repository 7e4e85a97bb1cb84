"""InterpretableSGD: SGD that updates, per output unit, the few connections responsible for it."""

import functools
import math
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT, _use_grad_for_differentiable
from torch.optim.sgd import SGD, sgd

from interpretable_sgd import options
from interpretable_sgd.activations import Tap, Taps
from interpretable_sgd.gradients import Layer, weight_gradient
from interpretable_sgd.guarantee import Guarantee, guarantee
from interpretable_sgd.lipschitz import SCORES
from interpretable_sgd.masks import Rule, bias_ratio, constants, masked_gradient, statistic
from interpretable_sgd.narrowing import narrowed, progress, soft_threshold
from interpretable_sgd.sampling import fold
from interpretable_sgd.selection import Layers, Selection
from interpretable_sgd.units import RoutedUnits

CE3 = (
    "masks per sample do not descend the loss: on a separable two-class problem this algorithm "
    "ends at 0 % accuracy with a growing loss (counterexample CE3, docs/method.md); watch "
    "bias_ratio(), or use mask='shared'"
)


class InterpretableSGD(SGD):
    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        block_size: float = 5,
        sparsity: float | None = None,
        layers: Layers = "head",
        lipschitz: str = "gate",
        mask: str = "shared",
        draw: str = "independent",
        correction: str = "none",
        probabilities: str = "waterfill",
        floor: float | None = None,
        shrink: float | None = None,
        horizon: int | None = None,
        memory: float = 0.9,
        seed: int = 0,
        model: nn.Module | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        self._routing = {
            "block_size": block_size,
            "sparsity": sparsity,
            "layers": layers,
            "lipschitz": lipschitz,
            "mask": mask,
            "draw": draw,
            "correction": correction,
            "probabilities": probabilities,
            "floor": floor,
            "shrink": shrink,
            "horizon": horizon,
            "memory": memory,
            "seed": seed,
            "narrowing": None,
        }
        options.completed(self._routing)
        self._routing["layers"] = Selection(layers)
        self._selections: list[Selection] = []
        super().__init__(
            params,
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )
        # A GradScaler must unscale before the step, as a mask acts between gradient and update.
        self._step_supports_amp_scaling = False
        self._open()
        if model is not None:
            self.attach(model)

    def attach(self, model: nn.Module) -> None:
        """Find the routed layers in a model now, not in its first forward pass.

        Raises:
            ValueError: a param group's `layers` names no layer of the model.
        """
        self._taps.visit(model)
        for group in self.param_groups:
            named = isinstance(group["layers"], list)
            if named and not any(p in self._taps for p in group["params"]):
                raise ValueError(
                    f"layers={group['layers']!r} matches no Linear or convolution layer of the "
                    "model with a weight in this param group"
                )

    def detach(self) -> None:
        """Make all layers plain and remove all hooks; further steps are plain SGD's."""
        self._taps.close()
        for group in self.param_groups:
            group["routed"] = []

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; reads `.grad` and never writes it.

        Args:
            closure: reevaluates the model and returns the loss.

        Raises:
            RuntimeError: a parameter routed by name, module or predicate has a gradient, but no
                layer that owns it ran forward; or its gradient is sparse. Nothing is updated then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._settle()
        for group in self.param_groups:
            params: list[Tensor] = []
            gradients: list[Tensor] = []
            buffers: list[Tensor | None] = []
            sparse = self._init_group(group, params, gradients, buffers)
            slots = dict(zip(params, buffers, strict=False))
            updates = {p: self._update(p, g, group) for p, g in zip(params, gradients, strict=True)}
            plain = {p: g for p, g in zip(params, gradients, strict=True) if updates[p] is None}
            routed = {p: u.direction for p, u in updates.items() if u is not None}
            self._descend(group, plain, slots, sparse)
            undecayed = group | {"weight_decay": 0, "maximize": False}
            self._descend(undecayed, routed, slots, sparse=False)
            for parameter, update in updates.items():
                if update is not None and update.shrink is not None:
                    parameter.copy_(soft_threshold(parameter, update.shrink))
        return loss

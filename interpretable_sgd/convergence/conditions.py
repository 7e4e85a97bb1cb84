"""The conditions of the convergence theorems, read on a run while it trains."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.convergence.curvature import largest_curvature
from interpretable_sgd.convergence.gradients import Gradient, Loss, evaluation_copy, gradient, inner

# A coordinate whose squared gradient is below this share of the mean is not missed if it rests.
NOTABLE = 1e-4


class Costs:
    """The time that readings of one kind have taken.

    >>> costs = Costs()
    >>> costs.add(2.0)
    >>> costs.allow(0.05, elapsed=100.0), costs.allow(0.05, elapsed=200.0)
    (False, True)
    """

    def __init__(self) -> None:
        self._spent, self._last, self._readings = 0.0, 0.0, 0

    def allow(self, budget: float | None, elapsed: float) -> bool:
        """Whether one more reading, as long as the last, stays within half of the budget."""
        if budget is None or not self._readings:
            return True
        return self._spent + self._last <= budget / 2 * (elapsed + self._last)

    def add(self, seconds: float) -> None:
        """Count a reading."""
        self._spent, self._last, self._readings = self._spent + seconds, seconds, self._readings + 1


class Conditions:
    """Whether what the theorems ask for holds, at the readings of a `Recorder`.

    A reading compares the gradient of the step, `.grad`, with that of F, and the weights with those
    of the reading before:

    - `eta_lambda_max`: eta * lambda_max of the Hessian of F plus the weight decay; Theorems A to H
      ask for at most 1. For optimizers with one step size per param group.
    - `gradient_square`: |grad F|^2.
    - `scale_product`: <step's gradient, grad F>, which is |grad F|^2 in the mean.
    - `noise`: |step's gradient - grad F|^2, sum_j sigma_j^2 / B in the mean.
    - `misdirection`: the squared sine of the angle between the two; with a full batch 0.
    - `dead_units/NAME`: share of a layer's units that are at most 0 on all of F's data and have no
      gradient: a ReLU behind them passes nothing on, and never will.
    - `starved_rows/NAME`: share of a layer's rows that have a gradient and have never moved.
    - `frozen/NAME`: share of connections, in rows that move, that have a gradient and have never
      moved; connections outside a settled support are meant not to.
    - `bias/NAME`: of a layer whose rows are routed per sample, |D|^2 / |grad_S F|^2 as the optimizer
      estimates it, D the gradient of connections that are active but not routed (Theorem C'); or the
      largest entry of its `bias_ratio()`.

    Reading keeps a copy of the weights, and of the Lanczos process about `curvature_steps` vectors
    of their size while it lasts.

    Args:
        model: in training.
        optimizer: any of torch's.
        objective: F, as a function of a model like this: the mean loss on all data, or on a fixed
            sample of a few batches' size, which costs less and adds its own error to `noise`.
        full_batch: whether the step's batch is all data, so that its gradient is that of F.
        budget: in (0, 1], share of the run's time that readings may take after the first, half of
            it for the curvature; None for no limit.
        curvature_steps: >= 1, Hessian-vector products at the first reading; a third of them do at
            later ones.
        seed: of the first Lanczos vector.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        objective: Loss,
        *,
        full_batch: bool = False,
        budget: float | None = 0.05,
        curvature_steps: int = 10,
        seed: int = 0,
    ) -> None:
        if budget is not None and not 0 < budget <= 1:
            raise ValueError(f"budget must be in (0, 1], got {budget}")
        if curvature_steps < 1:
            raise ValueError(f"curvature_steps must be at least 1, got {curvature_steps}")
        self._model, self._optimizer, self._objective = model, optimizer, objective
        self._full_batch, self._budget = full_batch, budget
        self._curvature_steps, self._seed = curvature_steps, seed
        self._vector: Tensor | None = None
        self._before: Gradient = {}
        self._rested: Gradient = {}
        self._missed: Gradient = {}
        self._readings = 0
        self._began, self._costs = time.perf_counter(), (Costs(), Costs())

    def read(self) -> dict[str, float]:
        """Values by name at the present weights; of what the budget allows now, maybe nothing."""
        elapsed = time.perf_counter() - self._began
        values: dict[str, float] = {}
        for part, costs in ((self._gradients, self._costs[0]), (self._curvature, self._costs[1])):
            if costs.allow(self._budget, elapsed):
                began = time.perf_counter()
                values |= part()
                costs.add(time.perf_counter() - began)
        return values

    def _gradients(self) -> dict[str, float]:
        """All but the curvature, from one gradient of F."""
        plain = evaluation_copy(self._model)
        with _largest_outputs(plain) as outputs:
            full = gradient(plain, self._objective)
        values = {"gradient_square": inner(full, full)}
        values |= self._compare(full)
        values |= self._movement(full)
        for layer, largest in outputs.items():
            weight = full.get(f"{layer}.weight" if layer else "weight")
            if weight is not None and len(weight) == len(largest):
                silent = weight.reshape(len(weight), -1).abs().amax(1) == 0
                dead = silent & (largest <= 0)
                values[f"dead_units/{layer}"] = float(dead.double().mean())
        for layer, ratio in getattr(self._optimizer, "bias_ratio", dict)().items():
            values[f"bias/{layer}"] = float(torch.as_tensor(ratio).double().max())
        for layer, units in self._routed_units().items():
            if getattr(units, "bias", None) is not None:
                values[f"bias/{layer}"] = float(units.bias)
        self._readings += 1
        return values

    def _routed_units(self) -> Mapping[str, Any]:
        """Of the optimizer, or none; what it warns of there is for those who read supports."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return getattr(self._optimizer, "routed_units", dict)()

    def _groups(self) -> dict[str, Mapping[str, float]]:
        """The param group of every parameter that moves, by name."""
        names = {id(p): name for name, p in self._model.named_parameters()}
        return {
            names[id(p)]: group
            for group in self._optimizer.param_groups
            for p in group["params"]
            if id(p) in names and p.requires_grad
        }

    def _curvature(self) -> dict[str, float]:
        groups = self._groups()
        # An adaptive optimizer has a step size for every coordinate, and no theorem here.
        if not groups or any("betas" in g or "alpha" in g for g in groups.values()):
            return {}
        scales = {name: float(group["lr"]) for name, group in groups.items()}
        value, self._vector = largest_curvature(
            self._model,
            self._objective,
            scales=scales,
            start=self._vector,
            # The direction of largest curvature turns slowly: fewer products do from there.
            steps=self._curvature_steps if self._vector is None else -(-self._curvature_steps // 3),
            seed=self._seed,
        )
        decay = max(scales[n] * float(g.get("weight_decay", 0)) for n, g in groups.items())
        return {"eta_lambda_max": value + decay}

    def _compare(self, full: Gradient) -> dict[str, float]:
        parameters = dict(self._model.named_parameters())
        step = {n: g for n in full if (g := parameters[n].grad) is not None}
        if not step:
            return {}
        of = {name: full[name] for name in step}
        product, square, size = inner(step, of), inner(of, of), inner(step, step)
        values = {"scale_product": product, "noise": size - 2 * product + square}
        if self._full_batch and size > 0 and square > 0:
            values["misdirection"] = max(0.0, 1 - product**2 / (size * square))
        return values

    def _movement(self, full: Gradient) -> dict[str, float]:
        groups, emptied, values = self._groups(), self._emptied(), {}
        for name, parameter in self._model.named_parameters():
            if name not in groups or parameter.dim() < 2 or float(groups[name]["lr"]) == 0:
                continue
            w, square = parameter.detach(), full[name] ** 2
            notable = square > NOTABLE * square.mean()
            if name in self._before:
                rests = ~self._moved(w, self._before[name], groups[name])
                self._rested[name] = self._rested[name] & rests
                self._missed[name] = self._missed[name] + notable
            else:
                self._rested[name] = torch.ones_like(notable)
                self._missed[name] = notable.to(torch.int32)
            self._before[name] = w.clone()
            if self._readings < 1:
                continue
            # At rest since the first reading, with a gradient in at least half of the readings.
            rested = self._rested[name].flatten(1)
            missed = self._missed[name].flatten(1) * 2 > self._readings
            starved = rested.all(1) & missed.any(1)
            frozen = rested & missed & ~rested.all(1, keepdim=True)
            if name in emptied:
                frozen = frozen & ~emptied[name].to(frozen.device)
            values[f"starved_rows/{name}"] = float(starved.double().mean())
            values[f"frozen/{name}"] = float(frozen.double().mean())
        return values

    def _moved(self, w: Tensor, before: Tensor, group: Mapping[str, float]) -> Tensor:
        """Where a weight has changed by more than decay alone explains."""
        decay = float(group.get("weight_decay", 0)) * float(group["lr"])
        if not decay:
            return w != before
        # Decay alone multiplies all weights of a tensor by one factor: the commonest, if any rest.
        ratio = torch.where(before == 0, 1.0, w / torch.where(before == 0, 1, before))
        common = (ratio.double() * 1e5).round().flatten().mode().values / 1e5
        return (w - common.to(w) * before).abs() > 2e-5 * before.abs()

    def _emptied(self) -> Gradient:
        """Connections outside the support of settled rows, (O, M), by name of the parameter."""
        found = {}
        for layer, units in self._routed_units().items():
            settled = getattr(units, "settled", None)
            if settled is not None:
                rows = torch.as_tensor(settled, device=units.support.device).reshape(-1, 1)
                found[f"{layer}.weight" if layer else "weight"] = rows & ~units.support
        return found


_CHANNEL_LAST = (nn.Linear, nn.LayerNorm)


@contextmanager
def _largest_outputs(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The largest output of every unit of the layers that have a weight, while it lasts."""
    found: dict[str, Tensor] = {}

    def watch(name: str, last: bool) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.dim() > 1:
                units = output.detach().movedim(-1 if last else 1, 0).flatten(1).amax(1)
                found[name] = torch.maximum(found[name], units) if name in found else units

        return hook

    handles = [
        module.register_forward_hook(watch(name, isinstance(module, _CHANNEL_LAST)))
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()

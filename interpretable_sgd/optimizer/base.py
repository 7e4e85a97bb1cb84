"""What makes an optimizer of torch an interpretable one, whichever it is."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from interpretable_sgd.optimizer.algorithm3 import Algorithm3, Sums, bias_ratio
from interpretable_sgd.optimizer.description import described, has_begun, has_ended, unsettled
from interpretable_sgd.optimizer.guarantees import RoutedLayer
from interpretable_sgd.optimizer.join import JoinMixin
from interpretable_sgd.optimizer.layer_choice import UNNAMED, LayerChoice
from interpretable_sgd.optimizer.masked_layers import MaskedLayers
from interpretable_sgd.optimizer.messages import CAPTURED, CE3, LOST, NO_STATISTICS
from interpretable_sgd.optimizer.options import NAMES, Options
from interpretable_sgd.optimizer.phases import PHASES, Phase
from interpretable_sgd.optimizer.probes import WeightProbe
from interpretable_sgd.optimizer.routed import Routed, ask_to_settle, phase
from interpretable_sgd.optimizer.routed_units import RoutedUnits
from interpretable_sgd.optimizer.selector import MOMENTS, Selector
from interpretable_sgd.optimizer.shared import Shared

if dist.is_available():
    from torch.distributed.algorithms.join import Join

METHODS: dict[str, type[Selector]] = {
    "routed": Routed,
    "shared": Shared,
    "algorithm3": Algorithm3,
}


class Interpretable(JoinMixin, Optimizer):
    """Selection of the connections that learn, on top of the optimizer that follows in the bases.

    A subclass of this class and of an optimizer of torch takes that one's step, on gradients that are
    selected in backward or, for shared masks, in the step; what is idle fades and is cut after it.
    """

    normalises: ClassVar[bool] = False
    """Whether the base optimizer's steps are as large as the rate, whatever the gradient."""
    decouples_decay: ClassVar[bool] = False
    """Whether weight decay is no part of the base optimizer's gradient."""

    def __init__(self, params: ParamsT, options: dict[str, Any], **of_the_base: Any) -> None:
        self._options = vars(Options(**options | {"layers": _listed(options["layers"])}))
        super().__init__(params, **of_the_base)  # type: ignore[call-arg]
        # Statistics are matched to unscaled gradients, so a GradScaler must unscale before the step.
        self._step_supports_amp_scaling = False
        self._asks_to_settle = False
        self._layers = MaskedLayers(self)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, with any of the constructor's options as its own.

        Raises:
            TypeError: not a dict.
            ValueError: an option out of its range, or options that contradict one another.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, got {type(param_group).__name__}")
        self.defaults = self._options | self.defaults
        group = {name: self.defaults[name] for name in NAMES} | {"phase": "brake"} | param_group
        group["layers"] = _listed(group["layers"])
        Options.of(group)
        super().add_param_group(group)
        if hasattr(self, "_layers"):
            self._layers.restart()

    def attach(self, model: nn.Module, process_group: Any = None) -> None:
        """Find the routed layers in a model now, not in its first forward pass.

        Args:
            model: that owns the parameters.
            process_group: over which gradients are averaged, where that is done neither by
                DistributedDataParallel nor by fully_shard.

        Raises:
            ValueError: a param group's `layers` names no layer of the model.
        """
        self._layers.attach(model, process_group)

    def detach(self) -> None:
        """Leave all layers as they were, and remove all hooks; further steps are the base optimizer's."""
        self._layers.close()

    # Steps, seeds and options are Python numbers here, which a compiled step would hold fixed.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; `.grad` is as backward left it before and after.

        Args:
            closure: reevaluates the model and returns the loss.

        Raises:
            RuntimeError: a parameter routed by name, module or function has a gradient, but no layer that
                owns it ran forward; or its gradient is sparse. Nothing is updated then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        capturing = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
        if capturing and self.phase != "settle":
            raise RuntimeError(CAPTURED)
        if hasattr(self, "_join_config"):
            Join.notify_join_context(self)  # type: ignore[arg-type]
        with torch.no_grad():
            self._layers.decide()
            self.tell_the_joined()
            selectors = [self._selector(*entry) for entry in self._layers]
            selectors = [selector for selector in selectors if _has_dense_gradient(selector)]
            sums = [self._sums(selector) for selector in selectors]
            directions: dict[Tensor, Tensor] = {}
            for selector, own in zip(selectors, sums, strict=True):
                directions |= selector.directions(selector.weight.grad, own)  # type: ignore[arg-type]
        with _lent(directions):
            self._base_step()
        with torch.no_grad():
            for selector in selectors:
                self.state[selector.weight].update(selector.state)
                selector.state = self.state[selector.weight]
                selector.finish()
                selector.observe()
            for group in self.param_groups:
                group["phase"] = self._phase_of(group)
        return loss

    def begin(self, weight: Tensor, probe: WeightProbe) -> None:
        """Have a layer observed that was just found and is known to be routed."""
        group = next(g for g in self.param_groups if any(p is weight for p in g["params"]))
        self._selector(weight, probe, group).observe()

    def _base_step(self) -> None:
        """The step of the optimizer below, without its hooks: they are called around ours."""
        step = super().step
        plain = getattr(step.__func__, "__wrapped__", None)  # type: ignore[attr-defined]
        if getattr(step.__func__, "hooked", None) and plain is not None:  # type: ignore[attr-defined]
            plain(self)
        else:
            step()

    def _selector(self, weight: Tensor, probe: WeightProbe, group: dict[str, Any]) -> Selector:
        """A routed weight with its state, which starts afresh where there is none."""
        method, state = METHODS[group["method"]], self.state[weight]
        if MOMENTS not in state:
            # Apart until the base optimizer has begun its own: some begin only an empty one.
            state = method.blank(weight, group["block_size"])
            state["is_head"] = self._layers.is_head(weight)
            if self._asks_to_settle:
                ask_to_settle(state)
            if method is Algorithm3:
                self._layers.warn(CE3)
        dtype = torch.promote_types(weight.dtype, torch.float32)
        for key in state.keys() & {MOMENTS, "support", "input_mean"}:
            wide = torch.bool if key == "support" else dtype
            state[key] = state[key].to(weight.device, wide)
        return method(
            weight=weight,
            state=state,
            options=Options.of(group),
            probe=probe,
            rate=float(group["lr"]),
            decay=0.0 if self.decouples_decay else group["weight_decay"],
            sign=-1 if group["maximize"] else 1,
            scheduled=_is_scheduled(group, state),
            normalised=self.normalises,
            position=self._layers.position(weight),
        )

    def _sums(self, selector: Selector) -> Tensor | None:
        """The statistics of a layer since the last step, over all processes that replicate the model."""
        probe = selector.probe
        sums = probe.pop()
        if not probe.is_observing:
            return None
        if sums is None and not self._layers.replicas.are_several:
            self._layers.warn(NO_STATISTICS.format(probe.name))
            return None
        sums = self._layers.replicas.sum(probe.zeros() if sums is None else sums)
        # Only the first steps are worth the wait for the device.
        if selector.state["steps"] < 3 and not sums.any() and selector.weight.grad.any():  # type: ignore[union-attr]
            self._layers.warn(NO_STATISTICS.format(probe.name))
        return sums

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients, and statistics since the last step: those of a skipped step go here."""
        self._layers.pop_all()
        super().zero_grad(set_to_none)

    @property
    def phase(self) -> Phase:
        """The earliest phase that a routed layer is in; "brake" before any is known."""
        return min((group["phase"] for group in self.param_groups), key=PHASES.index)

    def _phase_of(self, group: dict[str, Any]) -> Phase:
        """The earliest phase of a group's layers; of a group without any the last, where others have."""
        own = [phase(self.state[w]) for w, _, g in self._layers if g is group]
        default: Phase = "settle" if any(True for _ in self._layers) else "brake"
        return min(own, key=PHASES.index, default=default)

    def settle(self) -> None:
        """Have the next step cut every row to its `block_size` connections, for ever.

        Before the layers are known: the second step, on the statistics that it brings.
        """
        self._asks_to_settle = not self._layers.are_known
        for entry in self._layers:
            selector = self._selector(*entry)
            if isinstance(selector, Routed):
                ask_to_settle(selector.state)
                selector.observe()

    def routed_units(self, threshold: float = 1e-3) -> dict[str, RoutedUnits]:
        """Which connections every routed layer reads, by its name.

        Args:
            threshold: a connection is read if |w| >= threshold.

        Returns:
            Empty before the first step; tensors are new.

        Warns:
            UserWarning: once, after 100 steps, if a layer reads far more connections than it will keep.
        """
        self._warn_of_unsettled(has_begun)
        units = {}
        for weight, probe, group in self._layers:
            state = self.state[weight]
            if MOMENTS not in state:
                continue
            selector = self._selector(weight, probe, group)
            units[probe.name] = RoutedUnits(
                support=selector.matrix.abs() >= threshold,
                strength=selector.strength,
                probabilities=selector.probabilities,
                settled=phase(state) == "settle",
                bias=selector.bias if isinstance(selector, Routed) else None,
                block_size=selector.block_size,
            )
        return units

    def _routed_layers(self) -> list[RoutedLayer]:
        """What `guarantee` asks of the layers that are selected at all."""
        layers = []
        for entry in self._layers:
            selector = self._selector(*entry)
            if isinstance(selector, Routed):
                layers.append(RoutedLayer(entry[2], selector.settled_since, selector.bias))
            else:
                layers.append(RoutedLayer(entry[2], None, None))
        return layers

    def bias_ratio(self) -> dict[str, Tensor]:
        """theta_j of Algorithm 3's masks, by layer; below 1 Theorem C covers them, see `bias_ratio`."""
        return {
            probe.name: bias_ratio(Sums(*self.state[weight][MOMENTS]))
            for weight, probe, group in self._layers
            if group["method"] == "algorithm3" and MOMENTS in self.state[weight]
        }

    def state_dict(self) -> dict[str, Any]:
        """As every optimizer's; layers that were chosen by module or function are named in their state.

        Warns:
            UserWarning: once, if the learning rate has run out, or has stayed the same for 1000 steps, and a
                routed layer has not settled.
        """
        self._warn_of_unsettled(has_ended)
        state: dict[str, Any] = super().state_dict()
        for group in state["param_groups"]:
            group["layers"] = LayerChoice(group["layers"]).plain
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, and continue from it bit for bit; also one of the optimizer below.

        Warns:
            UserWarning: the state routes layers, but has lost their statistics.
        """
        final: list[dict[str, Any]] = []

        def keep(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
            final.append(state_dict)

        # The user's own hooks may have put another dict in its place.
        handle = self.register_load_state_dict_pre_hook(keep)
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
        state_dict = final[-1]
        names = [name for group in state_dict["param_groups"] for name in group["params"]]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for name, parameter in zip(names, parameters, strict=True):
            saved = state_dict["state"].get(name, {})
            # torch has cast them to the parameter's dtype.
            for key in saved.keys() & {MOMENTS, "support", "input_mean"}:
                self.state[parameter][key] = saved[key].to(parameter.device, copy=True)
        self._layers.restart()
        lost = [
            group["phase"]
            for group in self.param_groups
            if group["phase"] != "brake"
            and not any(MOMENTS in self.state[p] for p in group["params"])
        ]
        if lost:
            self._layers.warn(LOST.format(lost[0]))

    def __setstate__(self, state: dict[str, Any]) -> None:
        copied = "_layers" not in self.__dict__
        before = [] if copied else self.param_groups
        super().__setstate__(state)
        if copied:
            self._options = {name: self.defaults[name] for name in NAMES}
            self._step_supports_amp_scaling = self._asks_to_settle = False
        # A checkpoint of the optimizer below has no options: each group keeps its own.
        for group, own in itertools.zip_longest(self.param_groups, before, fillvalue=self._options):
            for name in NAMES:
                group.setdefault(name, own[name])
            group.setdefault("phase", "brake")
            if group["layers"] == UNNAMED:
                group["layers"] = own["layers"]
            Options.of(group)
        if copied:
            self._layers = MaskedLayers(self)

    def __repr__(self) -> str:
        lines = [described(self._selector(*entry)) for entry in self._layers]
        known = "\n".join(
            lines or ["    routes what `layers` chooses, known after the first backward pass"]
        )
        name, _, rest = super().__repr__().partition("(")
        return f"{name}(\n{known}\n{rest.lstrip()}"

    def _warn_of_unsettled(self, is_late: Callable[[Selector], bool]) -> None:
        """Warn once of layers that read far more than they keep although the run is late."""
        for weight, probe, group in self._layers:
            if group["method"] != "routed" or MOMENTS not in self.state[weight]:
                continue
            selector = self._selector(weight, probe, group)
            text = unsettled(selector)
            if text and is_late(selector):
                self._layers.warn(text)


def _listed(layers: Any) -> Any:
    """A choice of layers that can be read twice."""
    if isinstance(layers, str | nn.Module) or callable(layers):
        return layers
    return list(layers) if isinstance(layers, Iterable) else layers


def _is_scheduled(group: dict[str, Any], state: dict[str, Any]) -> bool:
    """Whether the learning rate follows a schedule: torch's schedulers note the initial rate."""
    changed = 0 < state.get("last_lr", 0.0) != float(group["lr"])
    if changed:
        state["scheduled"] = True
    return "initial_lr" in group or state.get("scheduled", False)


def _has_dense_gradient(selector: Selector) -> bool:
    gradient = selector.weight.grad
    if gradient is not None and gradient.is_sparse:
        raise RuntimeError(
            f"a routed layer needs a dense gradient, got a sparse one for {selector.probe.name}"
        )
    return gradient is not None


@contextlib.contextmanager
def _lent(directions: dict[Tensor, Tensor]) -> Iterator[None]:
    """Directions in the place of gradients, which come back as they were."""
    lent = {parameter: parameter.grad for parameter in directions}
    try:
        for parameter, direction in directions.items():
            parameter.grad = direction
        yield
    finally:
        for parameter, gradient in lent.items():
            parameter.grad = gradient

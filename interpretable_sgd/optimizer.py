"""InterpretableSGD: SGD that updates, per output unit, the few connections responsible for it."""

import functools
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT, _use_grad_for_differentiable
from torch.optim.sgd import SGD, sgd

from interpretable_sgd import options, updates
from interpretable_sgd.activations import Taps
from interpretable_sgd.gradients import Layer, weight_gradient
from interpretable_sgd.guarantees import Guarantee, combined
from interpretable_sgd.lipschitz import SCORES
from interpretable_sgd.masks import Rule, bias_ratio, masked_gradient, statistic
from interpretable_sgd.narrowing import soft_threshold
from interpretable_sgd.sampling import fold
from interpretable_sgd.selection import Layers, Selection
from interpretable_sgd.units import RoutedUnits

CE3 = (
    "masks per sample do not descend the loss: on a separable two-class problem this algorithm "
    "ends at 0 % accuracy with a growing loss (counterexample CE3 in docs/method.md); watch "
    "bias_ratio(), or use mask='shared'"
)


class InterpretableSGD(SGD):
    """@@DOC@@"""

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
        self._selection = Selection(layers)
        self._selections: list[Selection] = []
        self._routing = {
            "block_size": block_size,
            "sparsity": sparsity,
            "layers": self._selection.key,
            "lipschitz": lipschitz,
            "mask": mask,
            "draw": draw,
            "correction": correction,
            "probabilities": probabilities,
            "floor": floor,
            "shrink": shrink,
            "horizon": horizon,
            "narrowing": None,
            "memory": memory,
            "seed": seed,
        }
        options.completed(self._routing)
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
        # Masks act between gradient and update, so a GradScaler must unscale before the step.
        self._step_supports_amp_scaling = False
        self._open()
        if model is not None:
            self.attach(model)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, with any of the constructor's options but `model` as its own.

        Raises:
            ValueError: an option out of its range, or options that contradict one another.
        """
        self.defaults = getattr(self, "_routing", {}) | self.defaults
        layers = param_group.get("layers", self._selection)
        selection = layers if isinstance(layers, Selection) else Selection(layers)
        chosen = {key: param_group.get(key, self.defaults[key]) for key in options.KEYS}
        chosen = options.completed(chosen | {"layers": selection.key})
        super().add_param_group(param_group | chosen | {"routed": None})
        self._selections.append(selection)
        if hasattr(self, "_taps"):
            self._index()
            self._taps.watch()

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
        """Make all layers plain and remove all hooks; further steps are torch.optim.SGD's."""
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
            routed = [self._route(p, g, group) for p, g in zip(params, gradients, strict=True)]
            plain = [index for index, update in enumerate(routed) if update is None]
            masked = [index for index, update in enumerate(routed) if update is not None]
            for index in masked:
                gradients[index] = routed[index].direction
            self._descend(group, plain, params, gradients, buffers, sparse)
            undecayed = group | {"weight_decay": 0, "maximize": False}
            self._descend(undecayed, masked, params, gradients, buffers, sparse=False)
            for index in masked:
                if routed[index].shrink is not None:
                    params[index].copy_(soft_threshold(params[index], routed[index].shrink))
        return loss

    def _route(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Any:
        """The masked update of a routed parameter; None where torch.optim.SGD's applies."""
        _, position, stream = self._places[parameter]
        if position not in (group["routed"] or ()):
            return None
        state = self.state[parameter]
        observed = self._collect(parameter)
        step = state["routed_steps"]
        state["routed_steps"] += 1
        state["peak_lr"] = max(state["peak_lr"], float(group["lr"]))
        if group["mask"] != "shared":
            updates.remember(state, observed, group["memory"])
        if group["mask"] == "per-sample":
            return updates.per_sample(parameter, gradient, observed, state, group)
        key = fold(group["seed"], step, stream)
        update = updates.shared(parameter, gradient, state, group, key)
        if group["mask"] == "shared":
            updates.remember(state, observed, group["memory"])
        return update

    def _descend(
        self,
        group: dict[str, Any],
        chosen: list[int],
        params: list[Tensor],
        gradients: list[Tensor],
        buffers: list[Tensor | None],
        sparse: bool,
    ) -> None:
        """torch.optim.SGD's own arithmetic on the chosen parameters."""
        momentum = [buffers[index] for index in chosen] if group["momentum"] else []
        sgd(
            [params[index] for index in chosen],
            [gradients[index] for index in chosen],
            momentum,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            has_sparse_grad=sparse,
            foreach=group["foreach"],
            fused=group["fused"],
        )
        for index, buffer in zip(chosen, momentum, strict=False):
            self.state[params[index]]["momentum_buffer"] = buffer

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients and statistics since the last step: those of a skipped step go here."""
        self._taps.forget()
        super().zero_grad(set_to_none)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, and continue from it bit for bit; also one of torch.optim.SGD."""
        super().load_state_dict(state_dict)
        names = [name for group in state_dict["param_groups"] for name in group["params"]]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for name, parameter in zip(names, parameters, strict=True):
            saved = state_dict["state"].get(name, {})
            # torch has cast them to the parameter's dtype.
            for key in {"moments", "selected"} & saved.keys():
                self.state[parameter][key] = saved[key].to(parameter.device, copy=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        fresh = "_taps" not in self.__dict__
        if fresh:
            self._routing = {key: self.defaults[key] for key in options.KEYS}
            self._selection = Selection(self.defaults["layers"])
            self._selections = [Selection(group["layers"]) for group in self.param_groups]
            self._step_supports_amp_scaling = False
        for group in self.param_groups:
            missing = {key: self._routing[key] for key in options.KEYS if key not in group}
            group.update(options.completed(self._routing | group) if missing else {})
            group.setdefault("routed", None)
        if fresh:
            self._open()
        else:
            self._index()
            self._taps.restart()

    def routed_units(self, threshold: float = 1e-3) -> dict[str, RoutedUnits]:
        """Probabilities, selected shares and supports of every routed layer, by its name.

        Args:
            threshold: a connection is in the support if |w| >= threshold.

        Returns:
            Empty before the first step; tensors are new.
        """
        units = {}
        for parameter in self._routed():
            state = self.state[parameter]
            group = self.param_groups[self._places[parameter][0]]
            rule = updates.rule(state, group)
            if group["mask"] == "per-sample":
                sums = state["moments"]
                pi = sums[1] / torch.where(sums[4] > 0, sums[4], 1)
            elif rule.block_size >= state["selected"].shape[-1]:
                pi = torch.ones_like(state["selected"])
            else:
                _, pi = updates.shared_probabilities(parameter, state, rule)
            units[self._name(parameter)] = RoutedUnits(
                probabilities=pi,
                selected=state["selected"] / max(1, state["routed_steps"]),
                support=parameter.detach().flatten(1).abs() >= threshold,
                block_size=rule.block_size,
            )
        return units

    def bias_ratio(self) -> dict[str, Tensor]:
        """theta_j of per-sample masks, by layer: see `masks.bias_ratio`; below 1 is Theorem C's."""
        return {
            self._name(parameter): bias_ratio(self.state[parameter]["moments"])
            for parameter in self._routed()
            if self.param_groups[self._places[parameter][0]]["mask"] == "per-sample"
        }

    def guarantee(self) -> Guarantee:
        """Which theorem covers the present configuration, or that none does, and why."""
        return combined(self.param_groups)

    # What is routed: found in the first forward pass, settled in the first step.

    def _open(self) -> None:
        """Start looking for the layers that own the parameters."""
        self._index()
        self._uses: dict[Tensor, int] = {}
        self._warned: set[str] = set()
        self._taps = Taps(_weakly(self._chooses), _weakly(self._found))
        self._taps.watch()
        weakref.finalize(self, self._taps.close)

    def _index(self) -> None:
        """parameter -> (group, position in the group, position among all)."""
        places = [
            (parameter, group, position)
            for group, contents in enumerate(self.param_groups)
            for position, parameter in enumerate(contents["params"])
        ]
        self._places = {p: (group, position, i) for i, (p, group, position) in enumerate(places)}

    def _routed(self) -> list[Tensor]:
        return [
            group["params"][position]
            for group in self.param_groups
            for position in group["routed"] or ()
            if "moments" in self.state.get(group["params"][position], ())
        ]

    def _name(self, parameter: Tensor) -> str:
        if parameter in self._taps:
            return self._taps[parameter].name
        group, position, _ = self._places[parameter]
        return f"param_groups[{group}][{position}]"

    def _chooses(self, name: str, layer: Layer) -> bool:
        """Whether a layer is routed, or may turn out to be the head."""
        if layer.weight not in self._places:
            return False
        group, position, _ = self._places[layer.weight]
        routed = self.param_groups[group]["routed"]
        return self._selections[group].holds(name, layer) if routed is None else position in routed

    def _found(self, parameter: Tensor, layer: Layer) -> None:
        """A layer runs for the first time."""
        group = self.param_groups[self._places[parameter][0]]
        if group["routed"] is None and group["layers"] == "head":
            if not isinstance(layer, nn.Linear):
                return  # The head only if no Linear layer runs, which the first step knows.
        self._connect(parameter, layer)

    def _connect(self, parameter: Tensor, layer: Layer) -> None:
        group = self.param_groups[self._places[parameter][0]]
        if parameter.is_complex():
            raise TypeError(f"layers must not choose complex weights, got {layer}, complex")
        if group["draw"] == "unit" and not isinstance(layer, nn.Linear):
            raise ValueError(f"draw='unit' needs Linear layers, got {layer}")
        tap, state = self._taps[parameter], self.state[parameter]
        per_sample, score = group["mask"] == "per-sample", SCORES[group["lipschitz"]]
        if "moments" not in state:
            depth = 5 if per_sample else 2 if score.gated and tap.signed else 1
            state.update(updates.blank((depth, *parameter.flatten(1).shape), parameter))
        moments = state["moments"]
        if per_sample:
            self._warn(CE3)
            reduce = functools.partial(_masked, weakref.ref(self), weakref.ref(parameter))
        else:
            reduce = functools.partial(_moments, group["lipschitz"], len(moments) == 2)
        tap.connect(
            moments.shape,
            reduce,
            replaces_gradient=per_sample,
            keeps_output=score.curvature == "softmax",
        )

    def _head(self) -> Tensor | None:
        """The parameter of the last Linear layer that ran, else of the last convolution."""
        candidates = [
            (isinstance(self._taps.layers(p)[0], nn.Linear), self._taps[p].last_call, p)
            for group in self.param_groups
            for p in group["params"]
            if group["routed"] is None and group["layers"] == "head"
            if p in self._taps and self._taps[p].last_call
        ]
        return max(candidates, key=lambda found: found[:2])[2] if candidates else None

    def _settle(self) -> None:
        """Decide what is routed, once layers have run and gradients are there."""
        self._uses.clear()
        if not self._taps.watching:
            return
        learning = [any(p.grad is not None for p in g["params"]) for g in self.param_groups]
        head = self._head()
        for group, learns in zip(self.param_groups, learning, strict=True):
            if learns or any(learning) and group["layers"] in options.KEYWORDS:
                self._settle_group(group, head)
        if any(group["routed"] is None for group in self.param_groups):
            return
        routed = self._routed()
        for parameter in self._taps.keep(routed):
            for key in updates.KEYS:
                self.state[parameter].pop(key, None)

    def _settle_group(self, group: dict[str, Any], head: Tensor | None) -> None:
        """Turn a group's choice of layers into positions of parameters."""
        parameters, chosen = group["params"], group["layers"]
        if group["routed"] is not None:
            self._require([parameters[position] for position in group["routed"]], group)
            return
        if chosen == "head":
            if head is None:
                self._warn(
                    "no Linear or convolution layer that owns a parameter has run forward: every "
                    "parameter gets plain SGD until one does; pass model= to attach layers at once"
                )
                return
            routed = [p for p in parameters if p is head]
            if routed and "moments" not in self.state.get(head, ()):
                self._connect(head, self._taps.layers(head)[0])
        elif chosen in ("all", "none"):
            tapped = [p for p in parameters if p in self._taps]
            routed = [p for p in tapped if self._taps[p].last_call]
            unseen = [self._name(p) for p in tapped if p not in set(routed) and p.grad is not None]
            if unseen:
                self._warn(f"used without their layer's forward, so trained unmasked: {unseen}")
        else:
            routed = [p for p in parameters if p in self._taps]
            self._require(routed, group)
        group["routed"] = [self._places[p][1] for p in routed]

    def _require(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        unseen = [p for p in parameters if p not in self._taps or not self._taps[p].last_call]
        unseen = [p for p in unseen if p.grad is not None]
        if unseen or not parameters and group["layers"] not in options.KEYWORDS:
            names = [self._name(p) for p in unseen]
            raise RuntimeError(
                f"layers={group['layers']!r} routes parameters whose layers have not run forward "
                f"since the optimizer was made{': ' if names else ''}{', '.join(names)}; nothing "
                "was updated. Pass model=, or leave them out of layers"
            )

    def _collect(self, parameter: Tensor) -> Tensor:
        """The statistic since the last step, summed over all processes."""
        observed = self._taps[parameter].take() if parameter in self._taps else None
        if observed is None:
            observed = torch.zeros_like(self.state[parameter]["moments"])
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(observed)
        return observed

    def _masks(self, parameter: Tensor) -> bool:
        """Whether the gradient of a tapped layer is to be masked in backward."""
        group, position, _ = self._places[parameter]
        contents = self.param_groups[group]
        if contents["routed"] is not None:
            return position in contents["routed"]
        return contents["layers"] != "head" or parameter is self._head()

    def _draw(self, parameter: Tensor) -> tuple[Rule, int]:
        """How the next backward use of a parameter draws its masks."""
        group, _, stream = self._places[parameter]
        options_, state = self.param_groups[group], self.state[parameter]
        use = self._uses[parameter] = self._uses.get(parameter, 0) + 1
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        key = fold(options_["seed"], state["routed_steps"], stream, use, rank)
        return updates.rule(state, options_), key

    def _warn(self, message: str) -> None:
        """Warn once per optimizer."""
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, stacklevel=2)


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """A bound method that does not keep its object alive."""
    reference = weakref.WeakMethod(method)

    def call(*args: Any) -> Any:
        bound = reference()
        return bound(*args) if bound is not None else None

    return call


def _moments(
    lipschitz: str, signed: bool, layer: Layer, input: Tensor, output: Tensor, gradient: Tensor
) -> tuple[Tensor, None]:
    return statistic(lipschitz, signed, layer, input, output, gradient), None


def _masked(
    optimizer: weakref.ref[InterpretableSGD],
    parameter: weakref.ref[Tensor],
    layer: Layer,
    input: Tensor,
    output: Tensor,
    gradient: Tensor,
) -> tuple[Tensor | None, Tensor]:
    """Algorithm 3's gradient, or the plain one of a layer that turns out not to be routed."""
    owner, weight = optimizer(), parameter()
    if owner is None or weight is None or not owner._masks(weight):
        return None, weight_gradient(layer, input.to(gradient.dtype), gradient)
    rule, key = owner._draw(weight)
    masked, sums = masked_gradient(rule, key, layer, input, output, gradient)
    return sums, masked

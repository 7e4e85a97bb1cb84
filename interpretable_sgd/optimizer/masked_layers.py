"""Which parameters are routed: found in the first forward pass, settled in the first step."""

import functools
import warnings
import weakref
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from interpretable_sgd.optimizer import options, update
from interpretable_sgd.optimizer.discovery import Taps
from interpretable_sgd.optimizer.layer_choice import Selection
from interpretable_sgd.optimizer.layer_gradients import Layer, weight_gradient
from interpretable_sgd.optimizer.masks import masked_gradient, statistic
from interpretable_sgd.optimizer.messages import (
    BORROWED,
    CE3,
    LOST,
    NO_HEAD,
    SPLIT,
    UNSEEN,
    require_dense,
    require_finite,
)
from interpretable_sgd.optimizer.sampling import fold
from interpretable_sgd.optimizer.scores import SCORES
from interpretable_sgd.optimizer.sharding import is_sharded


class Routes:
    """The routed parameters of an optimizer, and the taps on the layers that own them.

    A param group's key `routed` holds the positions of its routed parameters, None until known.

    Args:
        optimizer: not kept alive; its layers become plain when it goes.
        selections: what each param group's `layers` chooses; grows with them.
    """

    def __init__(self, optimizer: Optimizer, selections: list[Selection]) -> None:
        self._owner = weakref.ref(optimizer)
        self._selections = selections
        self._taps = Taps(self._chooses, self._found, lambda weight: weight in self._places)
        self._uses: dict[Tensor, int] = {}
        self._warned: set[str] = set()
        self.index()
        self._taps.watch()
        weakref.finalize(optimizer, self._taps.close)

    @property
    def _groups(self) -> list[dict[str, Any]]:
        owner = self._owner()
        return owner.param_groups if owner is not None else []

    @property
    def _state(self) -> Any:
        owner = self._owner()
        return owner.state if owner is not None else {}

    def index(self) -> None:
        """Note where each parameter is: group, position in the group, position among all."""
        places = [
            (parameter, group, position)
            for group, contents in enumerate(self._groups)
            for position, parameter in enumerate(contents["params"])
        ]
        self._places = {p: (group, position, i) for i, (p, group, position) in enumerate(places)}

    def restart(self) -> None:
        """The optimizer has loaded a state, or has a new param group: find its layers anew."""
        self.index()
        self._taps.restart()

    def attach(self, model: nn.Module) -> None:
        """Tap the chosen layers of a model."""
        self._taps.visit(model)
        for group, selection in zip(self._groups, self._selections, strict=True):
            if isinstance(group["layers"], list) and not self._found_by(selection):
                raise ValueError(
                    f"layers={group['layers']!r} matches no Linear or convolution layer of the "
                    "model with a weight in this param group"
                )

    def close(self) -> None:
        """Make all layers plain, and route nothing."""
        self._taps.close()
        for group in self._groups:
            group["routed"] = []

    def forget(self) -> None:
        """Drop the statistics since the last step."""
        self._taps.forget()

    def routed(self) -> list[Tensor]:
        """Parameters that are settled to be routed and have run."""
        return [
            group["params"][position]
            for group in self._groups
            for position in group["routed"] or ()
            if "moments" in self._state.get(group["params"][position], ())
        ]

    def holds(self, parameter: Tensor) -> bool:
        """Whether a parameter is settled to be routed."""
        return self._places[parameter][1] in (self.group(parameter)["routed"] or ())

    def group(self, parameter: Tensor) -> dict[str, Any]:
        """The param group of a parameter."""
        return self._groups[self._places[parameter][0]]

    def name(self, parameter: Tensor) -> str:
        """Name of the layer that owns a parameter, or else where the parameter is."""
        if parameter in self._taps:
            return self._taps[parameter].name
        group, position, _ = self._places[parameter]
        return f"param_groups[{group}][{position}]"

    def key(self, parameter: Tensor, *words: int) -> int:
        """The key of a draw: (seed, step, parameter, ...)."""
        steps = self._state[parameter]["routed_steps"]
        return fold(self.group(parameter)["seed"], steps, self._places[parameter][2], *words)

    def observed(self, parameter: Tensor) -> Tensor:
        """The statistic since the last step, summed over all processes."""
        total = self._taps[parameter].take() if parameter in self._taps else None
        if total is None:
            total = torch.zeros_like(self._state[parameter]["moments"])
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(total)
        return total

    def _chooses(self, name: str, layer: Layer) -> bool:
        """Whether a layer is routed, or may turn out to be the head."""
        if layer.weight not in self._places:
            return False
        group, position, _ = self._places[layer.weight]
        if layer.weight.is_complex() and self._groups[group]["layers"] == "head":
            return False
        routed = self._groups[group]["routed"]
        return self._selections[group].holds(name, layer) if routed is None else position in routed

    def _found(self, parameter: Tensor, layer: Layer) -> None:
        """A layer runs for the first time."""
        if is_sharded(layer.weight):
            raise TypeError(SPLIT.format(layer))
        group = self.group(parameter)
        perhaps_head = group["routed"] is None and group["layers"] == "head"
        # A convolution is the head only if no Linear layer runs, which the first step knows.
        if isinstance(layer, nn.Linear) or not perhaps_head:
            self._connect(parameter, layer)

    def _connect(self, parameter: Tensor, layer: Layer) -> None:
        group = self.group(parameter)
        if parameter.is_complex():
            raise TypeError(f"layers must not choose complex weights, got {layer}, complex")
        if group["draw"] == "unit" and not isinstance(layer, nn.Linear):
            raise ValueError(f"draw='unit' needs Linear layers, got {layer}")
        tap, state = self._taps[parameter], self._state[parameter]
        per_sample, score = group["mask"] == "per-sample", SCORES[group["lipschitz"]]
        if "moments" not in state:
            # Processes must agree on the shape, whatever sign their first inputs had.
            signed = tap.signed or (dist.is_available() and dist.is_initialized())
            depth = 5 if per_sample else 2 if score.gated and signed else 1
            fan_in = parameter.shape[1:].numel()
            state.update(update.blank((depth, len(parameter), fan_in), parameter))
        moments = state["moments"]
        if per_sample:
            self._warn(CE3)
        tap.connect(
            moments.shape,
            functools.partial(self._masked, parameter)
            if per_sample
            else functools.partial(_moments, group["lipschitz"], len(moments) == 2),
            replaces_gradient=per_sample,
            keeps_output=score.curvature == "softmax",
        )

    def _head(self) -> Tensor | None:
        """The parameter of the last Linear layer that ran, else of the last convolution."""
        candidates = [
            (isinstance(self._taps.layers(p)[0], nn.Linear), self._taps[p].last_call, p)
            for group in self._groups
            for p in group["params"]
            if group["layers"] == "head" and p in self._taps and self._taps[p].last_call
        ]
        linear, last_call, head = max(candidates, key=lambda c: c[:2], default=(True, 0, None))
        # A Linear layer with a forward of its own may be the head, and is left to itself.
        foreign = self._taps.last_foreign_call
        return None if foreign and (foreign > last_call or not linear) else head

    def settle(self) -> None:
        """Decide what is routed, once layers have run and gradients are there."""
        self._uses.clear()
        if not self._taps.watching or self._is_rehearsal():
            return
        learning = [any(p.grad is not None for p in g["params"]) for g in self._groups]
        head = self._head()
        for index, (group, learns) in enumerate(zip(self._groups, learning, strict=True)):
            if learns or (any(learning) and group["layers"] in options.KEYWORDS):
                self._settle_group(group, self._selections[index], head)
        if any(group["routed"] is None for group in self._groups):
            return
        for parameter in self._taps.keep(self.routed()):
            for key in update.KEYS:
                self._state[parameter].pop(key, None)

    def _is_rehearsal(self) -> bool:
        """Whether a step is one of torch.distributed.checkpoint's, which looks what state there is.

        It comes before any layer has run, and moves nothing.
        """
        ran = any(self._taps[p].last_call for p in self._places if p in self._taps)
        idle = all(float(group["lr"]) == 0 for group in self._groups)
        return idle and not (ran or self._taps.bypassed or self._taps.last_foreign_call)

    def warn_of_lost(self) -> None:
        """Warn if a loaded state routes parameters that it has no statistics of."""
        routed = [g["params"][position] for g in self._groups for position in g["routed"] or ()]
        lost = [self.name(p) for p in routed if "moments" not in self._state.get(p, ())]
        if lost and len(lost) == len(routed):
            self._warn(LOST.format(", ".join(lost)))

    def check(self) -> None:
        """Raise before anything is updated if a routed gradient cannot be masked.

        Or, where a param group asks for it, if a gradient or a statistic is not finite.
        """
        routed = set(self.routed())
        for parameter in self._places:
            gradient, tap = parameter.grad, self._taps.get(parameter)
            if gradient is None:
                continue
            name, waiting = self.name(parameter), tap.waiting if tap else None
            if self.group(parameter)["nonfinite"] == "raise":
                require_finite(gradient, "gradient", name)
                if waiting is not None:
                    require_finite(waiting, "statistic", name)
            if parameter in routed:
                require_dense(gradient, name)
                if tap and tap.bypassed and waiting is None:
                    raise RuntimeError(f"layer {name}: {BORROWED}")

    def _settle_group(
        self, group: dict[str, Any], selection: Selection, head: Tensor | None
    ) -> None:
        """Turn a group's choice of layers into positions of parameters."""
        parameters, chosen = group["params"], group["layers"]
        tapped = [p for p in parameters if p in self._taps]
        if group["routed"] is not None:
            self._require([parameters[position] for position in group["routed"]], group)
            return
        if chosen == "head":
            if head is None:
                self._refuse_borrowed()
                self._warn(NO_HEAD)
                group["routed"] = [] if self._taps.last_foreign_call else None
                return
            routed = [p for p in parameters if p is head]
            if routed and "moments" not in self._state.get(head, ()):
                self._connect(head, self._taps.layers(head)[0])
        elif chosen in options.KEYWORDS:
            if chosen == "all" and not tapped:
                self._refuse_borrowed()
            routed = [p for p in tapped if self._taps[p].last_call]
            unseen = [self.name(p) for p in tapped if p not in set(routed) and p.grad is not None]
            if unseen:
                self._warn(UNSEEN.format(unseen))
        else:
            routed = tapped
            if not self._found_by(selection):
                self._refuse(group, [])
            self._require(routed, group)
        group["routed"] = [self._places[p][1] for p in routed]

    def _found_by(self, selection: Selection) -> list[Tensor]:
        """All tapped parameters of the groups that share a choice: it may name layers of one only."""
        return [
            parameter
            for group, own in zip(self._groups, self._selections, strict=True)
            for parameter in group["params"]
            if own is selection and parameter in self._taps
        ]

    def _refuse_borrowed(self) -> None:
        if self._taps.bypassed:
            raise RuntimeError(BORROWED)

    def _require(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        unseen = [p for p in parameters if p not in self._taps or not self._taps[p].last_call]
        unseen = [p for p in unseen if p.grad is not None]
        if unseen:
            self._refuse(group, unseen)

    def _refuse(self, group: dict[str, Any], unseen: list[Tensor]) -> None:
        names = [self.name(parameter) for parameter in unseen]
        raise RuntimeError(
            f"layers={group['layers']!r} routes parameters whose layers have not run forward "
            f"since the optimizer was made{': ' if names else ''}{', '.join(names)}; nothing "
            "was updated. Pass model=, or leave them out of layers"
        )

    def _masks(self, parameter: Tensor) -> bool:
        """Whether the gradient of a tapped layer is to be masked in backward."""
        if self._owner() is None:
            return False
        group, position = self.group(parameter), self._places[parameter][1]
        if group["routed"] is not None:
            return position in group["routed"]
        return group["layers"] != "head" or parameter is self._head()

    def _masked(
        self, parameter: Tensor, layer: Layer, input: Tensor, output: Tensor, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Algorithm 3's gradient, or the plain one of a layer that turns out not to be routed."""
        masks = self._masks(parameter)
        rule = update.rule(self._state[parameter], self.group(parameter)) if masks else None
        if rule is None or rule.is_whole(layer.weight[0].numel()):
            return None, weight_gradient(layer, input.to(gradient.dtype), gradient)
        use = self._uses[parameter] = self._uses.get(parameter, 0) + 1
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        key = self.key(parameter, use, rank)
        masked, sums = masked_gradient(rule, key, layer, input, output, gradient)
        return sums, masked

    def _warn(self, message: str) -> None:
        """Warn once per optimizer."""
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, stacklevel=2)


def _moments(
    lipschitz: str, signed: bool, layer: Layer, input: Tensor, output: Tensor, gradient: Tensor
) -> tuple[Tensor | None, None]:
    return statistic(lipschitz, signed, layer, input, output, gradient), None

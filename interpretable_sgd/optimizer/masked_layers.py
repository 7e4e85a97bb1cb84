"""The routed layers of an optimizer: which they are is known after the first backward pass."""

import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from interpretable_sgd.optimizer.discovery import LayerFinder
from interpretable_sgd.optimizer.layer_choice import KEYWORDS, LayerChoice
from interpretable_sgd.optimizer.layer_gradients import Layer
from interpretable_sgd.optimizer.messages import (
    DISAGREE,
    FOREIGN,
    NO_HEAD,
    NO_LAYER,
    NOT_LOGITS,
    SEPARATE,
    SEVERAL,
    SPLIT,
    UNSEEN,
)
from interpretable_sgd.optimizer.probes import WeightProbe
from interpretable_sgd.optimizer.replicas import Replicas

STATE = "moments"
"""The key of a parameter's state that says that it is routed."""


class MaskedLayers:
    """Which parameters of an optimizer are routed, and the probes on the layers that own them.

    Args:
        optimizer: not kept alive; its layers become plain when it goes.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._owner = weakref.ref(optimizer)
        self._finder = LayerFinder(
            self._may_be_routed, lambda weight: weight in self._groups, self._begin
        )
        self._routed: dict[Tensor, WeightProbe] = {}
        self._decided: set[int] = set()
        self._warned: set[str] = set()
        self._index()
        self.replicas = Replicas()
        self.is_closed = False
        self._finder.watch()
        weakref.finalize(optimizer, self._finder.close)

    @property
    def _optimizer(self) -> Any:
        return self._owner()

    def _index(self) -> None:
        self._ids = self._identities()
        self._groups = {
            parameter: group
            for group in self._optimizer.param_groups
            for parameter in group["params"]
        }

    def _identities(self) -> list[int]:
        groups = self._optimizer.param_groups
        return [id(parameter) for group in groups for parameter in group["params"]]

    def __iter__(self) -> Iterator[tuple[Tensor, WeightProbe, dict[str, Any]]]:
        """The routed weights, their probes and param groups."""
        for weight, probe in self._routed.items():
            yield weight, probe, self._groups[weight]

    @property
    def are_known(self) -> bool:
        """Whether it is decided what is routed."""
        return len(self._decided) == len(self._optimizer.param_groups)

    def position(self, weight: Tensor) -> int:
        """Of a parameter among all."""
        return self._ids.index(id(weight))

    def is_head(self, weight: Tensor) -> bool:
        """Whether a layer is the last with weights that ran, or the only one that was found."""
        probes = self._finder.probes
        last = max(probes.values(), key=lambda probe: probe.last_call)
        return probes[weight] is last and self._finder.foreign[0] <= last.last_call

    def attach(self, model: nn.Module, process_group: Any = None) -> None:
        """Probe the chosen layers of a model before it runs.

        Raises:
            ValueError: a param group names layers, and the model has none of them.
        """
        if self.is_closed:
            self.is_closed = False
            self.restart()
        if process_group is not None:
            self.replicas.given = process_group
        self._finder.visit(model)
        for group in self._optimizer.param_groups:
            choice = self._choice(group)
            if choice.patterns and not choice.keyword and not self._probed(choice):
                raise ValueError(
                    f"layers={choice.plain!r} matches no Linear or convolution layer of the model "
                    "with a weight in this param group"
                )

    def _begin(self) -> None:
        """Observe the layers that are known to be routed before a first backward pass.

        Those of a loaded state, those that were named, and a head that has no rival.
        """
        for weight, probe in self._finder.probes.items():
            group = self._groups[weight]
            known = STATE in self._optimizer.state.get(weight, ()) or self._is_alone
            if weight not in self._routed and (known or self._choice(group).keyword is None):
                self._optimizer.begin(weight, probe)

    @property
    def _is_alone(self) -> bool:
        """Whether the only layer that was found is the only one with weights, here and in its model."""
        own = [parameter for parameter in self._groups if parameter.dim() > 1]
        return len(self._finder.probes) == len(own) == self._finder.most_layers == 1

    def close(self) -> None:
        """Leave every layer as it was, and route nothing."""
        self._finder.close()
        self._routed.clear()
        self.is_closed = True

    def restart(self) -> None:
        """Find the layers anew: parameters, groups or a loaded state have changed."""
        if self.is_closed:
            return
        self._index()
        self._decided.clear()
        self._routed.clear()
        self._finder.keep({weight for weight in self._finder.probes if weight in self._groups})
        for probe in self._finder.probes.values():
            probe.rest()
        self._finder.watch()

    def _notice_edits(self) -> bool:
        """Find the layers anew if parameters were replaced, appended or taken out of `param_groups`."""
        edited = self._ids != self._identities()
        if edited:
            self.restart()
        return edited

    def pop_all(self) -> None:
        """Forget the statistics since the last step."""
        self._notice_edits()
        for probe in self._finder.probes.values():
            probe.pop()

    def decide(self) -> list[Tensor]:
        """Decide what is routed, once layers have run and gradients are there.

        Returns:
            The weights that are newly routed.

        Raises:
            RuntimeError: a param group names layers, and parameters of theirs have gradients, but no
                such layer ran.
        """
        # Layers of parameters that are new in this step are found in their next forward pass.
        if self._notice_edits() or not self._finder.is_watching or self._is_rehearsal():
            return []
        if self._finder.awaits_lazy:
            return []
        before = set(self._routed)
        groups = self._optimizer.param_groups
        learning = [any(p.grad is not None for p in group["params"]) for group in groups]
        asks = [
            self._choice(group).keyword == "head" and not self._loaded(group) for group in groups
        ]
        head = self._head() if any(asks) and any(learning) else None
        for index, (group, learns) in enumerate(zip(groups, learning, strict=True)):
            keyword = self._choice(group).keyword
            if index not in self._decided and (learns or (any(learning) and keyword in KEYWORDS)):
                for weight in self._of(group, head):
                    self._routed[weight] = self._whole_probe(weight)
                self._decided.add(index)
        if len(self._decided) == len(groups):
            self._finder.keep(set(self._routed))
            self._finder.stop_watching()
            self._agree()
        return [weight for weight in self._routed if weight not in before]

    @staticmethod
    def _choice(group: dict[str, Any]) -> LayerChoice:
        return LayerChoice(group["layers"])

    def _may_be_routed(self, name: str, layer: Layer) -> bool:
        """Whether a layer is routed, or may turn out to be the head."""
        if layer.weight not in self._groups:
            return False
        group = self._groups[layer.weight]
        loaded = self._loaded(group)
        if loaded:
            return layer.weight in set(loaded)
        choice = self._choice(group)
        if layer.weight.is_complex():
            if choice.keyword is None and choice.holds(name, layer):
                raise TypeError(f"layers must not choose complex weights, got {layer}, complex")
            return False
        return choice.holds(name, layer)

    def _loaded(self, group: dict[str, Any]) -> list[Tensor]:
        """Weights of a group that a loaded state routes."""
        state = self._optimizer.state
        return [p for p in group["params"] if STATE in state.get(p, ())]

    def _of(self, group: dict[str, Any], head: Tensor | None) -> list[Tensor]:
        """The weights of a group that are routed."""
        probed = [p for p in group["params"] if p in self._finder.probes]
        loaded, choice = self._loaded(group), self._choice(group)
        if loaded:
            self._require(loaded, group)
            return [p for p in loaded if p in self._finder.probes]
        if choice.keyword == "head":
            return [] if head is None else [p for p in probed if p is head]
        if choice.keyword is not None:
            ran = [p for p in probed if self._finder.probes[p].last_call]
            unseen = [p for p in probed if p not in set(ran) and p.grad is not None]
            if unseen:
                self.warn(UNSEEN.format(", ".join(self._finder.probes[p].name for p in unseen)))
            return ran
        if not self._probed(choice):
            self._refuse(group, [])
        self._require(probed, group)
        return probed

    def _whole_probe(self, weight: Tensor) -> WeightProbe:
        probe = self._finder.probes[weight]
        if probe.is_split:
            raise TypeError(SPLIT.format(probe.name))
        return probe

    def _head(self) -> Tensor | None:
        """The weight of the last Linear layer that ran, else of the last convolution."""
        candidates = [
            (isinstance(probe.layers[0], nn.Linear), probe.last_call, probe)
            for weight, probe in self._finder.probes.items()
            if probe.last_call
            and probe.layers
            and self._choice(self._groups[weight]).keyword == "head"
        ]
        linear, last_call, probe = max(candidates, key=lambda c: c[:2], default=(True, 0, None))
        foreign_call, foreign = self._finder.foreign
        if foreign_call and (foreign_call > last_call or not linear):
            return self.warn(NO_HEAD.format(FOREIGN.format(foreign)))
        if probe is None:
            return self.warn(NO_HEAD.format(NO_LAYER))
        shapes, size = self._finder.shapes, len(probe.weight)
        if shapes and not any(size in shape[1:] for shape in shapes):
            return self.warn(NO_HEAD.format(NOT_LOGITS.format(probe.name, size)))
        returned = [p.name for _, _, p in candidates if p.weight in self._finder.returned]
        if len(returned) > 1:
            self.warn(SEVERAL.format(", ".join(map(repr, returned)), probe.name))
        return probe.weight

    def _is_rehearsal(self) -> bool:
        """Whether a step is one of torch.distributed.checkpoint's, which looks what state there is.

        It comes before any layer has run, and moves nothing.
        """
        ran = (
            any(probe.last_call for probe in self._finder.probes.values())
            or self._finder.foreign[0]
        )
        return not ran and all(float(group["lr"]) == 0 for group in self._optimizer.param_groups)

    def _probed(self, choice: LayerChoice) -> list[Tensor]:
        """Probed weights of the groups that share a choice: it may name layers of one only."""
        return [
            weight
            for weight in self._finder.probes
            if weight in self._groups and self._choice(self._groups[weight]).plain == choice.plain
        ]

    def _require(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Raise if a weight has a gradient, but no layer that owns it ran."""
        probes = self._finder.probes
        unseen = [
            weight
            for weight in weights
            if weight.grad is not None and not (weight in probes and probes[weight].last_call)
        ]
        if unseen:
            self._refuse(group, unseen)

    def _refuse(self, group: dict[str, Any], unseen: list[Tensor]) -> None:
        probes = self._finder.probes
        names = [probes[w].name if w in probes else f"parameter {self.position(w)}" for w in unseen]
        raise RuntimeError(
            f"layers={self._choice(group).plain!r} routes parameters whose layers have not run forward "
            f"since the optimizer was made{': ' if names else ''}{', '.join(names)}; nothing was updated. "
            "Call attach(model), or leave them out of layers"
        )

    def _agree(self) -> None:
        """Find the processes that replicate this model; route nothing where they do not agree."""
        self.replicas.found = self._finder.process_group
        self.replicas.of(list(self._routed))
        names = [(probe.name, tuple(weight.shape)) for weight, probe in self._routed.items()]
        everyone = self.replicas.gather(names)
        if any(other != names for other in everyone):
            self.warn(DISAGREE.format("; ".join(f"rank {r}: {n}" for r, n in enumerate(everyone))))
            self._finder.keep(set())
            self._routed.clear()
        elif self._routed and len(everyone) == 1 and _several_processes():
            self.warn(SEPARATE)

    def warn(self, message: str) -> Any:
        """Warn once per optimizer; returns None, for there is nothing to route."""
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, stacklevel=2)


def _several_processes() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1

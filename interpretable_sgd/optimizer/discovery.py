"""Finding the layers that own an optimizer's weights, in whatever model runs forward.

An optimizer is given parameters alone. A transient global pre-forward hook is the one place from which
it can find the modules that own them: before a model first runs, its layers are visited.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import DataParallel
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from interpretable_sgd.optimizer.layer_gradients import Layer
from interpretable_sgd.optimizer.messages import REPLICAS
from interpretable_sgd.optimizer.probes import PROBE, WeightProbe, next_call

_FORWARDS = [plain.forward for plain in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)]


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's model inside DistributedDataParallel or torch.compile, whose names are meant."""
    inner: Any = model
    while isinstance(inner, DataParallel | DistributedDataParallel) or hasattr(inner, "_orig_mod"):
        inner = inner._orig_mod if hasattr(inner, "_orig_mod") else inner.module
    return inner


def owners(model: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Names and modules of the Linear and convolution layers whose forward is torch's own.

    Subclasses with a forward of their own, and layers with a parametrised, frozen or still lazy weight,
    are not among them.
    """
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if (
            type(module).forward in _FORWARDS
            and isinstance(weight, nn.Parameter)
            and not is_lazy(weight)
        ):
            yield name, module  # type: ignore[misc]


def replicas(model: nn.Module) -> Any:
    """The process group over which DistributedDataParallel averages a model's gradients, or None."""
    for module in model.modules():
        if isinstance(module, DistributedDataParallel):
            return module.process_group
    return None


class LayerFinder:
    """Probes on the layers that own weights, put there before a model first runs.

    Args:
        chooses: whether to probe a layer, given its name in the model that ran.
        owns: whether a weight is one of the optimizer's.
        begin: called when layers of a model have been found.

    Attributes:
        probes: by weight.
        process_group: over which a model found replicates its gradients, or None.
        foreign: the last call of a layer with weights that cannot be probed, in the order of all calls,
            and its description; (0, "") for none.
        shapes: of the outputs of the last call of a model that was visited, as far as they are matrices.
        returned: the weights whose layers' outputs they are.
        most_layers: with weights, in any model that was visited.
        awaits_lazy: whether layers of the last model had no weights yet as it was visited.
    """

    def __init__(
        self,
        chooses: Callable[[str, Layer], bool],
        owns: Callable[[Tensor], bool],
        begin: Callable[[], None],
    ) -> None:
        self._chooses, self._owns, self._begin = chooses, owns, begin
        self.probes: dict[Tensor, WeightProbe] = {}
        self.process_group: Any = None
        self.foreign = (0, "")
        self.shapes: list[torch.Size] = []
        self.returned: set[Tensor] = set()
        self.most_layers, self.awaits_lazy = 0, False
        self._seen: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._ours: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
        self._handles: list[RemovableHandle] = []

    def watch(self) -> None:
        """Visit each model just before it first runs, until `stop_watching`."""
        self._seen = weakref.WeakSet()
        for probe in self.probes.values():
            probe.note_calls(True)
        if not self._handles:
            self._handles = [register_module_forward_pre_hook(self._before)]

    @property
    def is_watching(self) -> bool:
        """Whether the global hook is set."""
        return bool(self._handles)

    def stop_watching(self) -> None:
        """Remove the global hook, and note no more calls."""
        while self._handles:
            self._handles.pop().remove()
        for probe in self.probes.values():
            probe.note_calls(False)
        self.shapes, self.returned = [], set()

    def visit(self, model: nn.Module) -> None:
        """Probe the chosen layers of a model."""
        inner = unwrapped(model)
        found = [(name or type(layer).__name__, layer) for name, layer in owners(inner)]
        weights = {layer.weight for name, layer in found if self._chooses(name, layer)}
        weights |= self.probes.keys()
        chosen = [(name, layer) for name, layer in found if layer.weight in weights]
        for name, layer in chosen:
            if layer.weight not in self.probes:
                self.probes[layer.weight] = WeightProbe(layer.weight, self._unique(name))
            self.probes[layer.weight].install(layer)
        self.most_layers = max(self.most_layers, sum(map(_has_matrix, inner.modules())))
        if chosen:
            self._begin()
        if any(self._owns(parameter) for parameter in model.parameters()):
            self._ours.update({module: name for name, module in inner.named_modules()})
            self.process_group = replicas(model) or self.process_group
            if self.is_watching:
                _watchers.setdefault(model, weakref.WeakSet()).add(self)
                self._handles.append(model.register_forward_hook(note_outputs))
        self.awaits_lazy = any(is_lazy(parameter) for parameter in model.parameters())
        # Layers that torch.func lends other tensors are looked at again, too.
        if not self.awaits_lazy and all(isinstance(p, nn.Parameter) for p in model.parameters()):
            self._seen.update(model.modules())

    def keep(self, weights: set[Tensor]) -> None:
        """Take the hooks off all other layers."""
        for weight in [weight for weight in self.probes if weight not in weights]:
            self.probes.pop(weight).remove()

    def close(self) -> None:
        """Leave every layer as it was."""
        self.stop_watching()
        self.keep(set())

    def _unique(self, name: str) -> str:
        """The name, numbered if a layer of another model has it."""
        taken = {probe.name for probe in self.probes.values()}
        numbered = (f"{name}#{number}" for number in itertools.count(2))
        return next(new for new in itertools.chain([name], numbered) if new not in taken)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _before(self, module: nn.Module, args: Any) -> None:
        if module not in self._seen:
            threaded = isinstance(module, DataParallel) and len(module.device_ids) > 1
            if threaded and any(self._owns(parameter) for parameter in module.parameters()):
                raise RuntimeError(REPLICAS)
            self.visit(module)
        if torch.is_grad_enabled() and module in self._ours and _has_matrix(module):
            weight = module._parameters.get("weight")
            # A probed layer without its own weight runs in a functional call, which is no training step.
            probe = vars(module).get(PROBE)
            elsewhere = weight not in self.probes and probe in self.probes.values()
            if not elsewhere and (weight not in self.probes or not weight.requires_grad):
                self.foreign = (next_call(), _described(self._ours[module], module))

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def note(self, output: Any) -> None:
        """Note what a model that was visited returned."""
        if torch.is_grad_enabled() and self.is_watching:
            tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            ids = {id(tensor): tensor.shape for tensor in tensors if tensor.dim() > 1}
            # Noted now: a loss that is all that is kept of a forward pass frees them in backward.
            self.shapes = list(ids.values())
            probes = self.probes.items()
            self.returned = {w for w, p in probes if p.output and id(p.output()) in ids}


_watchers: weakref.WeakKeyDictionary[nn.Module, weakref.WeakSet[LayerFinder]] = (
    weakref.WeakKeyDictionary()
)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def note_outputs(module: nn.Module, args: Any, output: Any) -> None:
    """The hook of a model that was visited: a function, so that copies and pickles of it note nothing."""
    for finder in _watchers.get(module, ()):
        finder.note(output)


def _described(name: str, module: nn.Module) -> str:
    return f"'{name.partition('.parametrizations')[0]}' ({type(module).__name__})"


def _has_matrix(module: nn.Module) -> bool:
    """Whether a layer owns a weight that could be a head's, as itself or in a parametrization."""
    parametrizations = getattr(module, "parametrizations", None)
    inner = parametrizations.parameters() if isinstance(parametrizations, nn.Module) else ()
    own = (parameter for parameter in module._parameters.values() if parameter is not None)
    childless = not any(True for name, _ in module.named_children() if name != "parametrizations")
    # Quantisation-aware layers own their weight, beside a child.
    return (childless or "weight" in module._parameters) and any(
        not is_lazy(parameter) and parameter.dim() > 1 for parameter in itertools.chain(own, inner)
    )

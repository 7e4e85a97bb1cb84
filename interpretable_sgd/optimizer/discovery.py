"""Finding the layers that own given parameters, in a model or in whatever runs forward."""

import itertools
import weakref
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import DataParallel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from interpretable_sgd.optimizer.layer_gradients import Layer
from interpretable_sgd.optimizer.messages import REPLICAS
from interpretable_sgd.optimizer.probes import (
    Announce,
    Tap,
    attach,
    detach,
    is_foreign,
    owners,
    present,
    tick,
)


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's model inside DistributedDataParallel or torch.compile, whose names are meant."""
    inner: Any = model
    while isinstance(inner, DataParallel | DistributedDataParallel) or hasattr(inner, "_orig_mod"):
        inner = inner._orig_mod if hasattr(inner, "_orig_mod") else inner.module
    return inner


def _borrows(model: nn.Module) -> bool:
    """Whether tensors that are no parameters are in the place of parameters.

    As in `torch.func.functional_call`.
    """
    held = (p for module in model.modules() for p in module._parameters.values() if p is not None)
    return not all(isinstance(parameter, nn.Parameter) for parameter in held)


class Taps:
    """All taps of one optimizer, and the hooks that find where to put them.

    A transient global forward hook is the one place from which an optimizer that was given
    parameters alone can find the modules that own them: before a model's first forward, `choose`
    sees its layers.

    Args:
        choose: tells whether to tap a layer, given its name in the model that ran.
        announce: see `Tap`.
        owns: tells whether a weight is one of the parameters.

    Attributes:
        last_foreign_call: when a Linear layer last ran that owns a parameter but cannot be tapped,
            in the order of all calls; 0 for never.
        bypassed: whether a module ran with other tensors in place of its parameters.
    """

    def __init__(
        self,
        choose: Callable[[str, Layer], bool],
        announce: Announce,
        owns: Callable[[Tensor], bool],
    ) -> None:
        self._choose, self._announce, self._owns = choose, announce, owns
        self.last_foreign_call = 0
        self.bypassed = False
        self._layers: weakref.WeakKeyDictionary[Layer, Tap] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._taps: dict[Tensor, Tap] = {}
        self._handles: list[RemovableHandle] = []
        self._late: nn.Module | None = None

    def __getitem__(self, parameter: Tensor) -> Tap:
        return self._taps[parameter]

    def get(self, parameter: Tensor) -> Tap | None:
        """The tap of a parameter, if its layers have been found."""
        return self._taps.get(parameter)

    def __contains__(self, parameter: Tensor) -> bool:
        return parameter in self._taps

    def layers(self, parameter: Tensor) -> list[Layer]:
        """The layers found to own a parameter."""
        tap = self._taps.get(parameter)
        return [layer for layer, owned in self._layers.items() if owned is tap]

    def visit(self, model: nn.Module) -> None:
        """Tap the chosen layers of a model."""
        found = [(name or type(layer).__name__, layer) for name, layer in owners(unwrapped(model))]
        weights = {layer.weight for name, layer in found if self._choose(name, layer)}
        weights |= self._taps.keys()
        chosen = [(name, layer) for name, layer in found if layer.weight in weights]
        for _, layer in chosen:
            if present(layer) not in (None, self._taps.get(layer.weight)):
                raise RuntimeError(
                    f"{layer} already belongs to another InterpretableSGD: call that one's "
                    "detach() first"
                )
        for name, layer in chosen:
            if layer.weight not in self._taps:
                tap = Tap(layer.weight, self._unique(name), self._announce)
                self._taps[layer.weight] = tap
            self._layers[layer] = self._taps[layer.weight]
            attach(layer, self._taps[layer.weight])
        if not any(is_lazy(parameter) for parameter in model.parameters()) and not _borrows(model):
            self._seen.update(model.modules())

    def _unique(self, name: str) -> str:
        """The name, numbered if a layer of another model has it."""
        taken = {tap.name for tap in self._taps.values()}
        numbered = (f"{name}#{number}" for number in itertools.count(2))
        return next(new for new in itertools.chain([name], numbered) if new not in taken)

    def release(self, parameter: Tensor) -> None:
        """Make the layers of one parameter plain again."""
        for layer in self.layers(parameter):
            detach(layer)
            del self._layers[layer]
        self._taps.pop(parameter, None)

    def keep(self, routed: Collection[Tensor]) -> list[Tensor]:
        """What is routed is known: tap nothing else and look no further.

        Returns:
            The parameters whose layers have become plain again.
        """
        self.stop_watching()
        dropped = [parameter for parameter in self._taps if parameter not in set(routed)]
        for parameter in dropped:
            self.release(parameter)
        for tap in self._taps.values():
            tap.settle()
        return dropped

    def forget(self) -> None:
        """Drop the statistics that wait to be taken."""
        for tap in self._taps.values():
            tap.take()

    def restart(self) -> None:
        """Find the layers anew, after what is routed has changed."""
        for tap in self._taps.values():
            tap.restart(self._announce)
        self.watch()

    def close(self) -> None:
        """Make every layer plain again and remove all hooks."""
        self.stop_watching()
        for parameter in list(self._taps):
            self.release(parameter)

    def watch(self) -> None:
        """Visit each model just before it first runs, until `stop_watching`."""
        self._seen = weakref.WeakSet()
        if not self._handles:
            self._handles = [
                register_module_forward_pre_hook(self._before),
                register_module_forward_hook(self._after, with_kwargs=True),
            ]

    @property
    def watching(self) -> bool:
        """Whether the global hooks are set."""
        return bool(self._handles)

    def stop_watching(self) -> None:
        """Remove the global hooks."""
        while self._handles:
            self._handles.pop().remove()

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _before(self, module: nn.Module, args: Any) -> None:
        if module not in self._seen:
            self._refuse_threads(module)
            self.bypassed |= torch.is_grad_enabled() and _borrows(module)
            self.visit(module)
            if module in self._layers:
                self._late = module
        if is_foreign(module) and torch.is_grad_enabled():
            ours = any(self._owns(parameter) for parameter in module.parameters())
            self.last_foreign_call = tick() if ours else self.last_foreign_call

    def _refuse_threads(self, module: nn.Module) -> None:
        threaded = isinstance(module, DataParallel) and len(module.device_ids) > 1
        if threaded and any(self._owns(parameter) for parameter in module.parameters()):
            raise RuntimeError(REPLICAS)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _after(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        # torch looked up a bare layer's forward before its class was swapped: run the new one.
        if module is not self._late:
            return None
        self._late = None
        return module.forward(*args, **kwargs)

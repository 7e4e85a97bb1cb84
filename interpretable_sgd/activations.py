"""Where layers meet the optimizer: taps on the outputs of the layers that own given parameters.

A tapped layer computes what it always did. In backward, next to its own gradients, it reduces
(input, output gradient) to one weight-sized statistic, delivered as the gradient of a *probe*, a
leaf tensor that nothing else uses. Autograd then treats the statistic as it treats `.grad`:
micro-batches, repeated calls and tied layers add up, activation checkpointing counts once, a forward
pass without backward leaves nothing behind, and no activation outlives the graph.

Layers are tapped by swapping their class, as `torch.nn.utils.parametrize` and `fully_shard` do:
module hooks set after `torch.compile` are ignored. `isinstance`, repr and state dict do not change,
and copies and pickles of a tapped layer are plain.
"""

import functools
import itertools
import weakref
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from interpretable_sgd.gradients import Layer

_FORWARDS = [plain.forward for plain in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)]
_clock = itertools.count(1)

Announce = Callable[[Tensor, Layer], None]
Reduce = Callable[[Layer, Tensor, Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""(layer, input, output, output gradient) -> (statistic, weight gradient or None for autograd's).

The output is empty unless the tap keeps it.
"""


class Tap:
    """What the layers that own one parameter do with their activations.

    Until `settle`, they note when they ran, and the first of them is announced.

    Args:
        parameter: the weight that the tapped layers share.
        name: of the first of them, in the model that ran.
        announce: called with the parameter and the layer when one of them first runs.

    Attributes:
        last_call: when a layer last ran, in the order of all calls; 0 for never.
        signed: whether its first input had a negative entry.
    """

    def __init__(self, parameter: Tensor, name: str, announce: Announce) -> None:
        self.parameter, self.name = parameter, name
        self.last_call = 0
        self.signed = False
        self._announce: Announce | None = announce
        self._probe: Tensor | None = None
        self._reduce: Reduce | None = None
        self._replaces_gradient = False
        self._keeps_output = False

    def settle(self) -> None:
        """What is routed is known: note no more calls."""
        self._announce = None

    def restart(self, announce: Announce) -> None:
        """As new, except that the layers stay tapped."""
        self.last_call, self._announce = 0, announce
        self._probe = self._reduce = None

    def connect(
        self, shape: torch.Size, reduce: Reduce, *, replaces_gradient: bool, keeps_output: bool
    ) -> None:
        """Reduce from now on.

        Args:
            shape: of the statistic.
            reduce: see `Reduce`.
            replaces_gradient: the weight's gradient is the second value of `reduce`;
                autograd's is never computed.
            keeps_output: `reduce` needs the layer's output, so a copy is kept until backward.
        """
        weight = self.parameter
        dtype = torch.promote_types(weight.dtype, torch.float32)
        self._probe = torch.zeros(shape, dtype=dtype, device=weight.device, requires_grad=True)
        self._reduce = reduce
        self._replaces_gradient, self._keeps_output = replaces_gradient, keeps_output

    def take(self) -> Tensor | None:
        """The statistic since the last call, and forget it."""
        if self._probe is None or self._probe.grad is None:
            return None
        statistic, self._probe.grad = self._probe.grad, None
        return statistic

    def forward(self, layer: Layer, plain: type[Layer], input: Tensor) -> Tensor:
        """The layer's own forward, with the probe tied in."""
        if self._announce is not None:
            self.note(layer, input)
        if self._probe is None or self._reduce is None:
            return plain.forward(layer, input)
        if self._probe.device != layer.weight.device:
            self._probe = self._probe.detach().to(layer.weight.device).requires_grad_()
        kept = (self._probe, layer, self._reduce, self._keeps_output)
        if not self._replaces_gradient:
            return _Tapped.apply(plain.forward(layer, input), input.detach(), None, *kept)
        weight = layer.weight.detach()
        if isinstance(layer, nn.Linear):
            output = nn.functional.linear(input, weight, layer.bias)
        else:
            output = layer._conv_forward(input, weight, layer.bias)
        return _Tapped.apply(output, input.detach(), layer.weight, *kept)

    @torch.compiler.disable
    def note(self, layer: Layer, input: Tensor) -> None:
        """Remember that the layer runs now, and announce its first input."""
        first, self.last_call = not self.last_call, next(_clock)
        if first and self._announce is not None:
            self.signed = bool((input < 0).any())
            self._announce(self.parameter, layer)


class _Tapped(torch.autograd.Function):
    """The identity on the output; the statistic is the probe's gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        output: Tensor,
        input: Tensor,
        weight: Tensor | None,
        probe: Tensor,
        layer: Layer,
        reduce: Reduce,
        keeps_output: bool,
    ) -> Tensor:
        ctx.layer, ctx.reduce = layer, reduce
        kept = output.detach().clone() if keeps_output else output.new_empty(0)
        ctx.save_for_backward(input, kept)
        # Not a view: an in-place activation may follow.
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        statistic = weight_gradient = None
        if ctx.needs_input_grad[2] or ctx.needs_input_grad[3]:
            with torch.no_grad():
                input, output = ctx.saved_tensors
                statistic, weight_gradient = ctx.reduce(ctx.layer, input, output, gradients[0])
        return gradients[0], None, weight_gradient, statistic, None, None, None


def owners(model: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Names and modules of the Linear and convolution layers whose forward is torch's own.

    Subclasses with their own forward, and layers with a parametrised weight, are not among them.
    """
    for name, module in model.named_modules():
        known = "_tap" in module.__dict__ or type(module).forward in _FORWARDS
        if known and isinstance(module._parameters.get("weight"), nn.Parameter):
            yield name, module  # type: ignore[misc]


def attach(layer: Layer, tap: Tap) -> None:
    """Let the layer's activations reach the tap, until `detach`."""
    present = layer.__dict__.get("_tap")
    if present is tap:
        return
    if present is not None:
        raise RuntimeError(
            f"{layer} already belongs to another InterpretableSGD: call that one's detach() first"
        )
    layer.__dict__["_tap"] = tap
    layer.__class__ = _tapped(type(layer))


def detach(layer: Layer) -> None:
    """Make the layer plain again."""
    if layer.__dict__.pop("_tap", None) is not None:
        layer.__class__ = type(layer).__mro__[1]  # type: ignore[assignment]


@functools.cache
def _tapped(plain: type[Layer]) -> type[Layer]:
    def forward(self: Layer, input: Tensor) -> Tensor:
        observed = torch.is_grad_enabled() and self.weight.requires_grad
        # Transforms of torch.func differentiate functions, not training steps.
        if not observed or torch._C._functorch.peek_interpreter_stack() is not None:
            return plain.forward(self, input)
        return self.__dict__["_tap"].forward(self, plain, input)  # type: ignore[no-any-return]

    def __reduce_ex__(self: Layer, protocol: Any) -> tuple[Any, ...]:
        state = {key: value for key, value in self.__dict__.items() if key != "_tap"}
        return _blank, (plain,), state

    body = {"forward": forward, "__reduce_ex__": __reduce_ex__, "__module__": plain.__module__}
    return type(plain.__name__, (plain,), body)


def _blank(plain: type[nn.Module]) -> nn.Module:
    return plain.__new__(plain)


class Taps:
    """All taps of one optimizer, and the hooks that find where to put them.

    A transient global forward hook is the one place from which an optimizer that was given
    parameters alone can find the modules that own them: before a model's first forward, `choose`
    sees its layers.

    Args:
        choose: tells whether to tap a layer, given its name in the model that ran.
        announce: see `Tap`.
    """

    def __init__(
        self,
        choose: Callable[[str, Layer], bool],
        announce: Announce,
    ) -> None:
        self._choose, self._announce = choose, announce
        self._layers: weakref.WeakKeyDictionary[Layer, Tap] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._taps: dict[Tensor, Tap] = {}
        self._handles: list[RemovableHandle] = []
        self._late: nn.Module | None = None

    def __getitem__(self, parameter: Tensor) -> Tap:
        return self._taps[parameter]

    def __contains__(self, parameter: Tensor) -> bool:
        return parameter in self._taps

    def layers(self, parameter: Tensor) -> list[Layer]:
        """The layers found to own a parameter."""
        tap = self._taps.get(parameter)
        return [layer for layer, owned in self._layers.items() if owned is tap]

    def visit(self, model: nn.Module) -> None:
        """Tap the chosen layers of a model."""
        self._seen.update(model.modules())
        for name, layer in owners(model):
            if self._choose(name, layer):
                weight = layer.weight
                tap = self._taps.setdefault(
                    weight, Tap(weight, name or type(layer).__name__, self._announce)
                )
                attach(layer, tap)
                self._layers[layer] = tap

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
                register_module_forward_hook(self._after),
            ]

    @property
    def watching(self) -> bool:
        """Whether the global hooks are set."""
        return bool(self._handles)

    def stop_watching(self) -> None:
        """Remove the global hooks."""
        while self._handles:
            self._handles.pop().remove()

    @torch.compiler.disable
    def _before(self, module: nn.Module, args: Any) -> None:
        if module not in self._seen:
            self.visit(module)
            if module in self._layers:
                self._late = module

    @torch.compiler.disable
    def _after(self, module: nn.Module, args: Any, output: Any) -> Any:
        # torch looked up a bare layer's forward before its class was swapped: run the new one.
        if module is not self._late:
            return None
        self._late = None
        return module.forward(*args) if args else None

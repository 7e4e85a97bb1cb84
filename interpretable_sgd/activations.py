"""Where layers meet the optimizer: taps on the outputs of the layers that own given parameters.

A tapped layer computes what it always did. In backward, next to its own gradients, it reduces
(input, output gradient) to one weight-sized statistic, delivered as the gradient of a *probe*, a
leaf tensor that nothing else uses. Autograd then treats the statistic as it treats `.grad`:
micro-batches, repeated calls and tied layers add up, activation checkpointing counts once, a
forward pass without backward leaves nothing behind, and no activation outlives the graph.

Layers are tapped by swapping their class, as `torch.nn.utils.parametrize` and `fully_shard` do:
module hooks set after `torch.compile` are ignored. `isinstance`, repr and state dict do not change,
and copies and pickles of a tapped layer are plain.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.gradients import Layer

_FORWARDS = [plain.forward for plain in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)]
_clock = itertools.count(1)

Announce = Callable[[Tensor, Layer], None]
Reduce = Callable[[Layer, Tensor, Tensor, Tensor], tuple[Tensor | None, Tensor | None]]
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

    def forward(self, layer: Layer, plain: Any, input: Tensor) -> Tensor:
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

    @torch.compiler.disable  # type: ignore[untyped-decorator]
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
    layer.__class__ = _tapped(type(layer))  # type: ignore[arg-type]


def detach(layer: Layer) -> None:
    """Make the layer plain again."""
    if layer.__dict__.pop("_tap", None) is not None:
        layer.__class__ = type(layer).__mro__[1]  # type: ignore[assignment]


@functools.cache
def _tapped(plain: Any) -> Any:
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

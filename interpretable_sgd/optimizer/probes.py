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
from torch.autograd import forward_ad
from torch.nn.parameter import is_lazy

from interpretable_sgd.optimizer.layer_gradients import Layer
from interpretable_sgd.optimizer.messages import REPLICAS
from interpretable_sgd.optimizer.sharding import stands_for

_FORWARDS = [plain.forward for plain in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)]
_clock = itertools.count(1)

Announce = Callable[[Tensor, Layer], None]
Reduce = Callable[[Layer, Tensor, Tensor, Tensor], tuple[Tensor | None, Tensor | None]]
"""(layer, input, output, output gradient) -> (statistic, weight gradient or None for autograd's).

The output is empty unless the tap keeps it.
"""


def tick() -> int:
    """The number of this call, in the order of all calls of layers."""
    return next(_clock)


class Tap:
    """What the layers that own one parameter do with their activations.

    Until `settle`, they note when they ran, and the first of them is announced.

    Args:
        parameter: the weight that the tapped layers share.
        name: of the first of them, in the model that ran.
        announce: called with the parameter and the layer when one of them first runs.

    Attributes:
        last_call: when a layer last ran, in the order of all calls; 0 for never, negative for
            recomputations in backward.
        signed: whether its first input had a negative entry.
        bypassed: whether, since the last `take`, a layer ran with another weight than its parameter.
    """

    def __init__(self, parameter: Tensor, name: str, announce: Announce) -> None:
        self.parameter, self.name = parameter, name
        self.last_call = 0
        self.signed = self.bypassed = False
        self._captured = False
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

    @property
    def waiting(self) -> Tensor | None:
        """The statistic since the last `take`."""
        return None if self._probe is None else self._probe.grad

    def take(self) -> Tensor | None:
        """The statistic since the last call, and forget it."""
        statistic, self.bypassed = self.waiting, False
        if statistic is None or self._probe is None:
            return None
        # A CUDA graph writes to the memory it was captured with, anew in every replay.
        if self._captured:
            return statistic.clone()
        self._probe.grad = None
        return statistic

    def bypass(self, layer: Layer) -> None:
        """The layer runs with a weight that is not the optimizer's."""
        if getattr(layer, "_is_replica", False):
            raise RuntimeError(REPLICAS)
        self.bypassed = True

    def forward(self, layer: Layer, plain: Any, input: Tensor) -> Tensor:
        """The layer's own forward, with the probe tied in."""
        if self._announce is not None:
            self.note(layer, input)
        if self._probe is None or self._reduce is None:
            return plain.forward(layer, input)
        if input.is_cuda and torch.cuda.is_current_stream_capturing():
            self._captured = True
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
        first, recomputed = not self.last_call, torch._C._current_graph_task_id() != -1
        # Checkpointed segments run again in backward, last first.
        if first or not recomputed:
            self.last_call = -tick() if recomputed else tick()
        if first and self._announce is not None:
            self.signed = not input.is_complex() and bool((input < 0).any())
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
        with torch.no_grad():
            input, output = ctx.saved_tensors
            statistic, weight_gradient = ctx.reduce(ctx.layer, input, output, gradients[0])
        return gradients[0], None, weight_gradient, statistic, None, None, None


def owners(model: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Names and modules of the Linear and convolution layers whose forward is torch's own.

    Subclasses with their own forward, and layers with a parametrised or still lazy weight, are not
    among them.
    """
    for name, module in model.named_modules():
        known = "_tap" in module.__dict__ or type(module).forward in _FORWARDS
        weight = module._parameters.get("weight")
        if known and isinstance(weight, nn.Parameter) and not is_lazy(weight):
            yield name, module  # type: ignore[misc]


def is_foreign(module: nn.Module) -> bool:
    """Whether a module is a Linear layer that cannot be routed.

    Its forward is its own, or its weight is computed or frozen.
    """
    plain = "_tap" in module.__dict__ or type(module).forward in _FORWARDS
    weight = module._parameters.get("weight")
    learns = isinstance(weight, nn.Parameter) and weight.requires_grad
    return isinstance(module, nn.Linear) and not (plain and learns)


def attach(layer: Layer, tap: Tap) -> None:
    """Let the layer's activations reach the tap, until `detach`."""
    if layer.__dict__.get("_tap") is not tap:
        layer.__dict__["_tap"] = tap
        layer.__class__ = _tapped(type(layer))  # type: ignore[arg-type]


def present(layer: Layer) -> Tap | None:
    """The tap that a layer has."""
    return layer.__dict__.get("_tap")


def detach(layer: Layer) -> None:
    """Make the layer plain again."""
    # A class put on top since then, as parametrizations do, stays; without a tap all is plain.
    layer.__dict__.pop("_tap", None)
    if "_plain" in type(layer).__dict__:
        layer.__class__ = type(layer).__dict__["_plain"]


@functools.cache
def _tapped(plain: Any) -> Any:
    def forward(self: Layer, input: Tensor) -> Tensor:
        tap = self.__dict__.get("_tap")
        if tap is None or not torch.is_grad_enabled():
            return plain.forward(self, input)
        if not stands_for(self.weight, tap.parameter):
            tap.bypass(self)
            return plain.forward(self, input)
        if not _trains(self.weight):
            return plain.forward(self, input)
        return tap.forward(self, plain, input)

    def __reduce_ex__(self: Layer, protocol: Any) -> tuple[Any, ...]:
        state = {key: value for key, value in self.__dict__.items() if key != "_tap"}
        return _blank, (plain,), state

    body = {
        "forward": forward,
        "__reduce_ex__": __reduce_ex__,
        "_plain": plain,
    }
    return type(plain.__name__, (plain,), body)


def _trains(weight: Tensor) -> bool:
    """Whether a forward pass is a training step's: transforms and traces are of functions."""
    return (
        weight.requires_grad
        and torch._C._functorch.maybe_current_level() is None
        and forward_ad._current_level < 0
        and not torch.jit.is_tracing()  # type: ignore[attr-defined]
    )


def _blank(plain: type[nn.Module]) -> nn.Module:
    return plain.__new__(plain)

"""Where layers meet the optimizer: a probe on the layers that own one weight.

A probe is a forward hook. While it observes, it ties a leaf tensor that nothing else uses into the
graph, and backward delivers the layer's statistics as that leaf's gradient. Autograd then treats them
as it treats `.grad`: micro-batches, repeated calls and tied layers add up, activation checkpointing
counts once, a forward pass without backward leaves nothing behind, and no activation outlives the graph.

A method that selects per sample also computes the weight's gradient there, in place of autograd.
"""

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo import convert_frame
from torch.autograd import forward_ad
from torch.utils.hooks import RemovableHandle, unserializable_hook

from interpretable_sgd.optimizer.layer_gradients import Layer
from interpretable_sgd.optimizer.messages import REPLICAS
from interpretable_sgd.optimizer.sharding import is_sharded, stands_for

Reduce = Callable[[Layer, Tensor, Tensor, Tensor, Sequence[Tensor]], tuple[Tensor, Tensor | None]]
"""(layer, input, output, output gradient, constants) -> (statistics, weight gradient or None).

The output is empty unless the probe keeps it; the constants are what `observe` was given.
"""

PROBE = "_interpretable_probe"
"""The key of a layer's `__dict__` under which its hook finds the probe."""

_calls = itertools.count(1)
_owners: weakref.WeakKeyDictionary[Layer, "WeightProbe"] = weakref.WeakKeyDictionary()


def next_call() -> int:
    """The number of a call, in the order of all calls of layers."""
    return next(_calls)


class WeightProbe:
    """A forward hook on the layers that own one weight.

    Args:
        weight: a parameter of the optimizer.
        name: of the layer, in the model that ran.

    Attributes:
        last_call: when a layer last ran, in the order of all calls of all layers; 0 for never, negative
            for recomputations in backward.
        output: of the last call, if it is still alive.
        signed: whether the first input had a negative entry.
        is_split: whether a layer ran with a weight that is a DTensor, as under tensor parallelism.
    """

    def __init__(self, weight: Tensor, name: str) -> None:
        self.weight, self.name = weight, name
        self.last_call = 0
        self.output: weakref.ref[Tensor] | None = None
        self.signed = self.is_split = False
        self._notes_calls = True
        self._handles: weakref.WeakKeyDictionary[Layer, RemovableHandle] = (
            weakref.WeakKeyDictionary()
        )
        self._leaf: Tensor | None = None
        self._reduce: Reduce | None = None
        self._constants: tuple[Tensor, ...] = ()
        self._flags = (False, False)
        self._compiles = True
        self._captured = False
        self._mask: RemovableHandle | None = None
        self._support: Tensor | None = None

    def install(self, layer: Layer) -> None:
        """Hook a layer, once.

        Raises:
            RuntimeError: another optimizer's probe is on it.
        """
        if _owners.setdefault(layer, self) is not self:
            raise RuntimeError(
                f"{layer} already belongs to another interpretable optimizer: call that one's detach() "
                "first"
            )
        if layer not in self._handles:
            if convert_frame.FRAME_COUNTER:
                # Code that was compiled before does not look at new hooks.
                torch.compiler.reset()
            layer.__dict__[PROBE] = self
            # First of all, for fully_shard takes the gathered weight away in a hook of its own.
            self._handles[layer] = layer.register_forward_hook(forward_hook, prepend=True)

    def _unhook(self) -> None:
        for layer, handle in self._handles.items():
            handle.remove()
            layer.__dict__.pop(PROBE, None)
        self._handles.clear()

    def remove(self) -> None:
        """Leave every layer and the weight as they were."""
        self.rest()
        self._unhook()
        for layer in self.layers:
            del _owners[layer]

    @property
    def layers(self) -> list[Layer]:
        """The layers that own the weight, as far as they were found."""
        return [layer for layer, probe in _owners.items() if probe is self]

    def note_calls(self, on: bool) -> None:
        """Note from now on when a layer runs, or note it no longer."""
        self._notes_calls = on
        for layer in self.layers if on else ():
            self.install(layer)
        self.last_call, self.output = 0 if on else self.last_call, None

    def observe(
        self,
        shape: Sequence[int],
        reduce: Reduce,
        constants: tuple[Tensor, ...] = (),
        *,
        replaces_gradient: bool = False,
        keeps_output: bool = False,
        compiles: bool = True,
    ) -> None:
        """Reduce every backward pass to statistics from now on.

        Args:
            shape: of the statistics.
            reduce: see `Reduce`.
            constants: tensors that `reduce` reads.
            replaces_gradient: the weight's gradient is the second value of `reduce`; autograd's is never
                computed.
            keeps_output: `reduce` needs the layer's output, so a copy is kept until backward.
            compiles: whether torch.compile can trace `reduce` once for all steps.
        """
        weight = self.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        for layer in self.layers:
            self.install(layer)
        if self._leaf is None or self._leaf.shape != torch.Size(shape) or self._leaf.dtype != dtype:
            self._leaf = torch.zeros(shape, dtype=dtype, device=weight.device, requires_grad=True)
        self._reduce, self._constants = reduce, constants
        self._flags, self._compiles = (replaces_gradient, keeps_output), compiles

    def rest(self, support: Tensor | None = None) -> None:
        """Observe nothing until told to, and let no gradient pass off a support, boolean (O, M)."""
        self._leaf = self._reduce = None
        self._constants = ()
        if not self._notes_calls:
            self._unhook()
        if support is not None and support is self._support:
            return
        if self._mask is not None:
            self._mask.remove()
            self._mask = None
        self._support = support
        # The gradient of a sharded weight passes no hook of its own: the step masks its update.
        if support is not None and self.weight.requires_grad and not is_sharded(self.weight):
            self._mask = self.weight.register_hook(unserializable_hook(_Mask(support)))

    @property
    def is_observing(self) -> bool:
        """Whether backward passes are reduced."""
        return self._reduce is not None

    @property
    def size(self) -> int:
        """Number of statistics that a backward pass brings."""
        return 0 if self._leaf is None else self._leaf.numel()

    def zeros(self) -> Tensor:
        """The statistics of no sample."""
        return torch.zeros_like(self._leaf, requires_grad=False)  # type: ignore[arg-type]

    def pop(self) -> Tensor | None:
        """The statistics since the last call, and forget them; None if no backward pass brought any."""
        statistics = None if self._leaf is None else self._leaf.grad
        if statistics is None or self._leaf is None:
            return None
        # A CUDA graph writes to the memory it was captured with, anew in every replay.
        if self._captured:
            return statistics.clone()
        self._leaf.grad = None
        return statistics

    def observed(self, layer: Layer, input: Tensor, output: Tensor) -> Tensor:
        """The layer's output, with the leaf tied in where there is something to observe."""
        if not torch.is_grad_enabled() or not _trains(layer.weight):
            return output
        if not stands_for(layer.weight, self.weight):
            if getattr(layer, "_is_replica", False):
                raise RuntimeError(REPLICAS)
            return output
        if self._notes_calls:
            self._note(layer, input, output)
        if self._leaf is None or self._reduce is None:
            return output
        if input.is_cuda and torch.cuda.is_current_stream_capturing():
            self._captured = True
        if self._leaf.device != layer.weight.device:
            self._leaf = self._leaf.detach().to(layer.weight.device).requires_grad_()
        tie = _tie if self._compiles else _tie_eagerly
        return tie(self._leaf, self._reduce, self._constants, self._flags, layer, input, output)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _note(self, layer: Layer, input: Tensor, output: Tensor) -> None:
        first, recomputed = not self.last_call, torch._C._current_graph_task_id() != -1
        if first:
            self.is_split = is_sharded(layer.weight)
            self.signed = not input.is_complex() and bool((input < 0).any())
        # Checkpointed segments run again in backward, last first.
        if first or not recomputed:
            call = next_call()
            self.last_call = -call if recomputed else call
            self.output = weakref.ref(output)

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """Copies of a hooked layer are plain."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def forward_hook(layer: Layer, input: tuple[Tensor], output: Tensor) -> Tensor:
    """The hook of every probed layer: a function that pickle finds and torch.jit.script compiles."""
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return output
    else:
        return _seen_by_probe(layer, input, output)


def _seen_by_probe(layer: Layer, args: tuple[Any, ...], output: Tensor) -> Tensor:
    probe = layer.__dict__.get(PROBE)
    # A layer called by keyword hands its hooks no input.
    if probe is None or not args:
        return output
    seen: Tensor = probe.observed(layer, args[0], output)
    return seen


class _Mask:
    """A tensor hook: the gradient on a support, 0 off it."""

    def __init__(self, support: Tensor) -> None:
        self.support = support

    def __call__(self, gradient: Tensor) -> Tensor:
        return torch.where(self.support.view_as(gradient).to(gradient.device), gradient, 0)


def _tie(
    leaf: Tensor,
    reduce: Reduce,
    constants: tuple[Tensor, ...],
    flags: tuple[bool, bool],
    layer: Layer,
    input: Tensor,
    output: Tensor,
) -> Tensor:
    """The layer's output, whose backward reduces to the leaf's gradient."""
    replaces_gradient, keeps_output = flags
    weight = None
    if replaces_gradient:
        # The same numbers again, without autograd's own way to the weight.
        weight, output = layer.weight, _plain_forward(layer, input)
    result: Tensor = _Observed.apply(
        output, input.detach(), weight, leaf, layer, reduce, keeps_output, *constants
    )
    return result


_tie_eagerly = torch.compiler.disable(_tie)


class _Observed(torch.autograd.Function):
    """The identity on the output; the statistics are the leaf's gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        output: Tensor,
        input: Tensor,
        weight: Tensor | None,
        leaf: Tensor,
        layer: Layer,
        reduce: Reduce,
        keeps_output: bool,
        *constants: Tensor,
    ) -> Tensor:
        ctx.layer, ctx.reduce = layer, reduce
        kept = output.detach().clone() if keeps_output else output.new_empty(0)
        ctx.save_for_backward(input, kept, *constants)
        # Not a view: an in-place activation may follow.
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            input, output, *constants = ctx.saved_tensors
            statistics, weight = ctx.reduce(ctx.layer, input, output, gradients[0], constants)
        return gradients[0], None, weight, statistics, None, None, None, *([None] * len(constants))


def _plain_forward(layer: Layer, input: Tensor) -> Tensor:
    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        return nn.functional.linear(input, weight, layer.bias)
    return layer._conv_forward(input, weight, layer.bias)


def _trains(weight: Tensor) -> bool:
    """Whether a forward pass is a training step's: transforms and traces are of functions."""
    return (
        weight.requires_grad
        and torch._C._functorch.maybe_current_level() is None
        and forward_ad._current_level < 0
        and not torch.jit.is_tracing()  # type: ignore[attr-defined]
    )

"""Forward passes that are watched: what the head reads and decides, and the maps of a layer.

Index legend: `n` image, `m` unit, `c` class, `u` unit of any layer, `h`, `w` positions of its map.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.batches import (
    Inputs,
    call,
    check_labels,
    hashes,
    on,
    rows,
    split_batch,
    tensors,
)
from interpretable_sgd.analysis.heads import Head

PROBED = 4  # maps that a layer is recognised by


class HeadRecorder:
    """What the head read in the last forward pass."""

    def __init__(self, model: nn.Module, head: Head) -> None:
        self._model, self._head = model, head
        self._last: tuple[Tensor, Tensor] | None = None

    def take(self) -> tuple[Tensor, Tensor]:
        """Units, as `Head.read` returns them, and logits, (n, c), of the pass since the last call.

        Raises:
            RuntimeError: the head has not run since.
        """
        if self._last is None:
            raise RuntimeError(
                f"head {self._head.name!r} has not run in the forward pass: name the layer that "
                "makes the logits with head="
            )
        last, self._last = self._last, None
        return last

    def run(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Run the model; units and logits, as `take` gives them.

        Raises:
            RuntimeError: the head does not run.
            ValueError: its logits are not finite, or are not what the model returns.
        """
        self._last = None
        output = call(self._model, inputs)
        units, logits = self.take()
        _check_output(output, logits, self._head)
        return units, logits

    def _hook(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._last = self._head.read(args[0]), self._head.pool(output)


@contextmanager
def reading(model: nn.Module, head: Head) -> Iterator[HeadRecorder]:
    """Read the head in every forward pass inside, in evaluation mode and without gradients.

    Afterwards the hook is gone, and every module is in the mode that it was in.

    Args:
        model: its forward runs the head.
        head: of that model.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> with reading(model, Head(model[2], "2")) as read:
    ...     output = model(torch.rand(5, 4))
    ...     units, logits = read.take()
    >>> units.shape, torch.equal(logits, output)
    (torch.Size([5, 3]), True)
    """
    recorder = HeadRecorder(model, head)
    handle = head.layer.register_forward_hook(recorder._hook)
    try:
        with evaluating(model), torch.no_grad():
            yield recorder
    finally:
        handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def plain(model: nn.Module) -> nn.Module:
    """The module inside of a compiled one, whose graph would not see new hooks; or itself."""
    inner: nn.Module = getattr(model, "_orig_mod", model)
    return inner


def device_of(model: nn.Module) -> torch.device:
    """Where a model is."""
    first = next(model.parameters(), None)
    return first.device if first is not None else torch.device("cpu")


@contextmanager
def placed(model: nn.Module, device: torch.device | str | None) -> Iterator[torch.device]:
    """The model on a device inside, and back on its own afterwards; None leaves it where it is."""
    own = device_of(model)
    wanted = own if device is None else torch.device(device)
    if wanted != own:
        model.to(wanted)
    try:
        yield wanted
    finally:
        if wanted != own:
            model.to(own)


class Batch(NamedTuple):
    """What the head read and decided.

    Attributes:
        labels: true classes, (n,), int64; or which classes an image has, (n, c), bool.
        hashes: of inputs and labels, (n,).
        units: as `Head.read` returns them.
        logits: of all classes, (n, c).
    """

    labels: Tensor
    hashes: Tensor
    units: Tensor
    logits: Tensor


def batches(
    model: nn.Module,
    loader: Iterable[Any],
    head: Head,
    *,
    device: torch.device | str | None = None,
    skip: int = 0,
) -> Generator[Batch, None, None]:
    """Batches of a data set, read in evaluation mode on a device.

    Args:
        model: a classifier.
        loader: gives inputs and labels, see `split_batch`.
        head: makes the logits.
        device: to run on; the model is moved there and back.
        skip: how many images at the front have been read before: of them only labels and hashes are
            given, in batches of their own.

    Close the generator (`contextlib.closing`): that removes the hook and moves the model back.

    Raises:
        RuntimeError: the head does not run.
        TypeError: the loader gives something else.
        ValueError: labels are not classes; logits are not finite, or are not the model's output.
    """
    inner = plain(model)
    with placed(inner, device) as place, reading(inner, head) as read:
        for inputs, labels in map(split_batch, loader):
            labels = check_labels(labels, head.outputs)
            found = hashes(inputs, labels)
            known = min(skip, len(labels))
            skip -= known
            if known:
                empty = head.weight.new_empty(0)
                yield Batch(labels[:known], found[:known], empty, empty)
            if known == len(labels):
                continue
            units, logits = read.run(on(rows(inputs, slice(known, None)), place))
            yield Batch(labels[known:].to(place), found[known:], units, logits)


def _check_output(output: Any, logits: Tensor, head: Head) -> None:
    """Raise unless the model's output is the head's, or has it among others."""
    if not torch.isfinite(logits).all():
        raise ValueError(f"logits of head {head.name!r} must be finite")
    outputs = list(tensors(output))
    if any(head.explains(single, logits) for single in outputs):
        return
    own = logits[:, 1:] if head.is_binary else logits
    alike = [single for single in outputs if single.shape == own.shape]
    if not alike:
        got = ", ".join(str(tuple(single.shape)) for single in outputs) or type(output).__name__
        raise ValueError(
            f"the model must return the logits of head {head.name!r}, {tuple(own.shape)}, "
            f"got {got}: name the layer that makes them with head="
        )
    raise ValueError(
        f"the model's output is not that of head {head.name!r}: they differ by "
        f"{float((alike[0] - own).abs().max()):.3g}; name the layer that makes the logits "
        "with head="
    )


@dataclass
class Maps:
    """What a layer put out in the last forward pass, (n, U, h, w)."""

    values: Tensor = field(default_factory=lambda: torch.empty(0))


def layer_of(model: nn.Module, layer: nn.Module | str) -> tuple[str, nn.Module]:
    """Name and module of a layer given as either.

    Raises:
        ValueError: the model has no such layer.

    >>> layer_of(nn.Sequential(nn.ReLU()), "0")
    ('0', ReLU())
    """
    for name, module in model.named_modules():
        if module is layer or name == layer:
            return name, module
    raise ValueError(f"layer must be a module of the model or its dotted name, got {layer!r}")


@contextmanager
def captured(layer: nn.Module) -> Iterator[Maps]:
    """Capture a copy of the layer's output maps in every forward pass inside; the hook goes with it.

    A copy, because the next layer may work in place. A layer that puts out one number for each unit,
    (n, u), has maps of one position.

    >>> layer = nn.Conv2d(3, 8, 1)
    >>> with captured(layer) as maps:
    ...     _ = layer(torch.rand(2, 3, 5, 5))
    >>> maps.values.shape, len(layer._forward_hooks)
    (torch.Size([2, 8, 5, 5]), 0)
    """
    maps = Maps()

    def keep(module: nn.Module, args: object, output: object) -> None:
        if not isinstance(output, Tensor) or output.dim() not in (2, 4):
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"layer must put out maps (n, u, h, w) or units (n, u), got {got}")
        values = output.detach().clone()
        maps.values = values if values.dim() == 4 else values[:, :, None, None]

    handle = layer.register_forward_hook(keep)
    try:
        yield maps
    finally:
        handle.remove()


@torch.no_grad()
def find_map_layer(model: nn.Module, inputs: Inputs, head: Head) -> str | None:
    """The last layer whose output has one map, of more than one position, for each unit of the head.

    A layer counts only if its m-th map is what the m-th unit is made of: raising the map must move
    that unit more than any other. As many maps may have other units behind them, as where a Linear
    layer mixes them.

    Args:
        model: run a few times on the inputs, in evaluation mode; its mode is restored.
        inputs: of one image or a few.
        head: of the model.

    Returns:
        Its dotted name, or None: the head reads no maps.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    >>> find_map_layer(net, torch.rand(1, 3, 8, 8), Head(net[4], "4"))
    '1'
    """
    units = head.weight.shape[1]
    shaped: dict[str, Tensor] = {}
    calls: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():

        def look(module: nn.Module, args: object, output: object, name: str = name) -> None:
            shaped.pop(name, None)
            calls[name] = calls.get(name, 0) + 1
            if not isinstance(output, Tensor) or output.dim() != 4:
                return
            if output.shape[1] == units and output.shape[2] * output.shape[3] > 1:
                shaped[name] = output.detach().clone()

        handles.append(module.register_forward_hook(look))
    try:
        with evaluating(model):
            call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    modules = dict(model.named_modules())
    for name in reversed(shaped):
        if _makes_units(model, inputs, head, modules[name], shaped[name], calls[name]):
            return name
    return None


def _makes_units(
    model: nn.Module, inputs: Inputs, head: Head, layer: nn.Module, maps: Tensor, calls: int
) -> bool:
    """Whether raising some of a layer's maps moves the units of the same numbers most.

    Args:
        maps: of the layer, (n, m, h, w).
        calls: how often it runs in a pass; the last time counts.
    """
    peaks = maps.amax((0, 2, 3))
    # far above what the unit has, so that a maximum or a gate behind it notices
    raised = 1 + 2 * maps.abs().amax()
    with reading(model, head) as read:
        call(model, inputs)
        before = head.activations(read.take()[0])
        # the most active maps: a ReLU behind them passes what is added
        for m in peaks.topk(min(PROBED, len(peaks))).indices.tolist():
            seen = 0

            def lift(module: nn.Module, args: object, output: Tensor, m: int = m) -> Tensor | None:
                nonlocal seen
                seen += 1
                if seen < calls:
                    return None
                output = output.clone()
                output[:, m] += raised
                return output

            handle = layer.register_forward_hook(lift)
            try:
                call(model, inputs)
            finally:
                handle.remove()
            moved = (head.activations(read.take()[0]) - before).abs().sum(0)
            if int(moved.argmax()) != m or not moved[m] > 0:
                return False
    return True

"""One pass over a data set: what the head reads and decides, batch by batch.

Index legend: `n` image, `m` unit, `c` class.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.heads import Head

TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 2e-2, torch.float64: 1e-9}
TOLERANCE_FLOAT32 = 2e-3  # matrix products may run in TF32


class Reading:
    """What the head read in the last forward pass."""

    def __init__(self, head: Head) -> None:
        self._head = head
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

    def _hook(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._last = self._head.read(args[0]), self._head.pool(output)


@contextmanager
def reading(model: nn.Module, head: Head) -> Iterator[Reading]:
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
    seen = Reading(head)
    handle = head.layer.register_forward_hook(seen._hook)
    try:
        with evaluating(model), torch.no_grad():
            yield seen
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


@contextmanager
def placed(model: nn.Module, device: torch.device | str | None) -> Iterator[torch.device]:
    """The model on a device inside, and back on its own afterwards; None leaves it where it is."""
    first = next(model.parameters(), None)
    own = first.device if first is not None else torch.device("cpu")
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
        labels: true classes, (n,).
        units: as `Head.read` returns them.
        logits: of all classes, (n, c).
    """

    labels: Tensor
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
        loader: gives (images, labels).
        head: makes the logits.
        device: to run on; the model is moved there and back.
        skip: how many images at the front have been read before: of them only labels are given, in
            batches of their own.

    Close the generator (`contextlib.closing`): that removes the hook and moves the model back.

    Raises:
        RuntimeError: the head does not run.
        TypeError: the loader gives something else.
        ValueError: labels are not classes; logits are not finite, or are not the model's output.
    """
    inner = plain(model)
    with placed(inner, device) as place, reading(inner, head) as read:
        for images, labels in map(pair, loader):
            _check_labels(labels, len(head.weight))
            known = min(skip, len(labels))
            skip -= known
            if known:
                empty = head.weight.new_empty(0)
                yield Batch(labels[:known], empty, empty)
            if known == len(labels):
                continue
            output = inner(images[known:].to(place))
            units, logits = read.take()
            _check_output(output, logits, head)
            yield Batch(labels[known:].to(place), units, logits)


def image_batches(loader: Iterable[Any]) -> Iterator[Tensor]:
    """Images of a loader that gives them alone, or with labels.

    Raises:
        TypeError: the loader gives something else.
    """
    for batch in loader:
        images = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        if not isinstance(images, Tensor):
            raise TypeError(f"loader must give images as a tensor, got {type(images).__name__}")
        yield images


def pair(batch: Any) -> tuple[Tensor, Tensor]:
    """Images and labels of a batch, whatever it holds besides.

    Raises:
        TypeError: the batch is something else.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise TypeError(f"loader must give (images, labels), got {type(batch).__name__}")
    images, labels = batch[0], torch.as_tensor(batch[1])
    if not isinstance(images, Tensor) or len(images) != len(labels):
        raise TypeError("loader must give a tensor of images and as many labels")
    return images, labels


def _check_labels(labels: Tensor, classes: int) -> None:
    if labels.dim() != 1 or labels.is_floating_point():
        raise ValueError(
            f"labels must be whole numbers, one per image, got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"labels must be in 0 .. {classes - 1}, the outputs of the head, "
            f"got {int(labels.min())} .. {int(labels.max())}"
        )


def _check_output(output: Any, logits: Tensor, head: Head) -> None:
    """Raise unless the model's output is the head's, or its softmax or log-softmax."""
    if not torch.isfinite(logits).all():
        raise ValueError(f"logits of head {head.name!r} must be finite")
    if not isinstance(output, Tensor) or output.shape != logits.shape:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"the model must return the logits of head {head.name!r}, {tuple(logits.shape)}, "
            f"got {got}: name the layer that makes them with head="
        )
    expected = (logits, logits.log_softmax(1), logits.softmax(1))
    within = tolerance(logits.dtype)
    if not any((output - z).abs().max() <= within * z.abs().max() for z in expected):
        raise ValueError(
            f"the model's output is not that of head {head.name!r}: they differ by "
            f"{float((output - logits).abs().max()):.3g}; name the layer that makes the logits "
            "with head="
        )


def tolerance(dtype: torch.dtype) -> float:
    """Relative rounding error that two ways to sum the same terms may differ by."""
    return TOLERANCE.get(dtype, TOLERANCE_FLOAT32)

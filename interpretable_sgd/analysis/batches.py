"""Batches in the forms that loaders give: tensors, tuples and dicts of them, with labels of any kind.

Index legend: `n` image (or row, or text), `c` class.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

Inputs = Any  # a tensor, or a list, tuple or mapping of tensors with one row for each image
OTHER = "loader must give the same images in the same order in each pass"
LABELS = ("labels", "label", "targets", "target", "y")


def split_batch(batch: Any) -> tuple[Inputs, Tensor]:
    """Inputs and labels of a batch, whatever it holds besides.

    Args:
        batch: (inputs, labels, ...), or a mapping with the labels under one of the names `LABELS`.

    Raises:
        TypeError: the batch is something else.

    >>> inputs, labels = split_batch({"ids": torch.zeros(2, 7), "labels": [0, 1]})
    >>> list(inputs), labels.tolist()
    (['ids'], [0, 1])
    """
    if isinstance(batch, Mapping):
        name = next((name for name in LABELS if name in batch), None)
        if name is None:
            raise TypeError(f"loader must give labels under one of {LABELS}, got {list(batch)}")
        inputs: Inputs = {key: value for key, value in batch.items() if key != name}
        labels = torch.as_tensor(batch[name])
    elif isinstance(batch, (tuple, list)) and len(batch) >= 2:
        inputs, labels = batch[0], torch.as_tensor(batch[1])
    else:
        raise TypeError(f"loader must give (images, labels), got {type(batch).__name__}")
    if not labels.dim() or length(inputs) != len(labels):
        raise TypeError("loader must give a tensor of images and as many labels")
    return inputs, labels


def first_batch(loader: Iterable[Any]) -> tuple[Any, Iterable[Any]]:
    """The first batch, and all batches, the first among them.

    Raises:
        TypeError: the loader is a data set of single images, or nothing that can be walked.
        ValueError: there is no batch.

    >>> first, loader = first_batch(iter([1, 2]))
    >>> first, list(loader)
    (1, [1, 2])
    """
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        raise TypeError(
            f"loader must give batches, got the data set {type(loader).__name__}: "
            "torch.utils.data.DataLoader(dataset, batch_size=64) makes batches of it"
        )
    if not isinstance(loader, Iterable):
        raise TypeError(f"loader must be an iterable of batches, got {type(loader).__name__}")
    stream = iter(loader)
    try:
        first = next(stream)
    except StopIteration:
        raise ValueError("loader must give at least one image, got none") from None
    return first, chain([first], stream)


def inputs_of(batch: Any) -> Inputs:
    """Inputs of a batch that has labels or not.

    Raises:
        TypeError: the batch holds something else than tensors.
    """
    if isinstance(batch, Mapping):
        inputs: Inputs = {key: value for key, value in batch.items() if key not in LABELS}
    else:
        inputs = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    length(inputs)
    return inputs


def tensors(inputs: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples, mappings and objects with fields, in order."""
    if isinstance(inputs, Tensor):
        yield inputs
    elif isinstance(inputs, Mapping):
        for value in inputs.values():
            yield from tensors(value)
    elif isinstance(inputs, (tuple, list)):
        for value in inputs:
            yield from tensors(value)
    elif hasattr(inputs, "__dataclass_fields__"):
        for name in inputs.__dataclass_fields__:
            yield from tensors(getattr(inputs, name))


def each(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same inputs with every tensor changed.

    Raises:
        TypeError: something in them is no tensor.
    """
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, Mapping):
        return {key: each(value, change) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(each(value, change) for value in inputs)
    raise TypeError(f"loader must give images as a tensor, got {type(inputs).__name__}")


def length(inputs: Inputs) -> int:
    """How many images the inputs are of.

    Raises:
        TypeError: there are no tensors, or tensors of different lengths.
    """
    lengths: list[int] = []
    each(inputs, lambda tensor: lengths.append(len(tensor)) or tensor)  # type: ignore[func-returns-value]
    if not lengths or min(lengths) != max(lengths):
        raise TypeError(f"loader must give tensors of one length, got lengths {lengths}")
    return lengths[0]


def rows(inputs: Inputs, which: slice | int | Sequence[int]) -> Inputs:
    """Some images of the inputs."""
    return each(inputs, lambda tensor: tensor[which])


def on(inputs: Inputs, device: torch.device) -> Inputs:
    """The inputs on a device."""
    return each(inputs, lambda tensor: tensor.to(device))


def stack(images: Sequence[Inputs]) -> Inputs:
    """Inputs of a batch from those of single images, without their first dimension."""
    first = images[0]
    if isinstance(first, Tensor):
        return torch.stack(list(images))
    if isinstance(first, Mapping):
        return {key: stack([image[key] for image in images]) for key in first}
    return tuple(stack([image[k] for image in images]) for k in range(len(first)))


def call(model: nn.Module, inputs: Inputs) -> Any:
    """The model's output: a mapping is given by keyword, a tuple as several arguments."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


def primary_output(output: Any) -> Tensor | None:
    """The tensor of an output that is taken for the logits: "logits" where it is named so, else the first.

    >>> primary_output({"loss": torch.zeros(()), "logits": torch.ones(2, 3)}).shape
    torch.Size([2, 3])
    """
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        return output["logits"]
    named = getattr(output, "logits", None)
    return named if isinstance(named, Tensor) else next(tensors(output), None)


def check_labels(labels: Tensor, outputs: int) -> Tensor:
    """Labels as classes or as sets of classes.

    Args:
        labels: whole numbers or bool, (n,); of a head of one output also (n, 1) and 0.0 or 1.0; of a
            multi-label head 0 or 1 for each class, (n, c), of any type.
        outputs: of the head. One output is the logit of class 1 against class 0.

    Returns:
        Classes, (n,), int64; or which classes an image has, (n, c), bool.

    Raises:
        ValueError: they are nothing of the kind.

    >>> check_labels(torch.tensor([[0.0], [1.0]]), 1)
    tensor([0, 1])
    >>> check_labels(torch.tensor([[1, 0, 1]]), 3)
    tensor([[ True, False,  True]])
    """
    single = outputs == 1 and labels.dim() == 2 and labels.shape[1] == 1
    labels = labels[:, 0] if single else labels
    if labels.dim() == 2 and labels.shape[1] == outputs:
        if not ((labels == 0) | (labels == 1)).all():
            raise ValueError(
                f"labels of {outputs} classes at once must be 0 or 1, "
                f"got {float(labels.min()):g} .. {float(labels.max()):g}"
            )
        return labels.bool()
    whole = not labels.is_floating_point() or (
        outputs == 1 and bool(((labels == 0) | (labels == 1)).all())
    )
    if labels.dim() != 1 or not whole or labels.is_complex():
        raise ValueError(
            f"labels must be whole numbers, one per image, or 0 and 1 for each of the {outputs} "
            f"outputs of the head, got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    labels, classes = labels.long(), max(2, outputs)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"labels must be in 0 .. {classes - 1}, the outputs of the head, "
            f"got {int(labels.min())} .. {int(labels.max())}"
        )
    return labels


def class_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every image with each of its classes: positions of images and classes, (p,) each.

    Args:
        labels: as `check_labels` returns them.

    >>> class_pairs(torch.tensor([[True, True], [False, True]]))
    (tensor([0, 0, 1]), tensor([0, 1, 1]))
    """
    if labels.dim() == 2:
        image, c = labels.nonzero(as_tuple=True)
        return image, c
    return torch.arange(len(labels), device=labels.device), labels


def hashes(inputs: Inputs, labels: Tensor) -> Tensor:
    """A hash of the contents of each image, (n,), int64: dtypes, shapes and values, and its labels.

    Eight bytes of BLAKE2b: two different images have the same one with a chance of 2^-64.

    >>> images, labels = torch.rand(3, 2), torch.arange(3)
    >>> bool((hashes(images, labels)[[2]] == hashes(images[2:], labels[2:])).all())
    True
    """
    parts = [tensor.detach().cpu().contiguous() for tensor in tensors(inputs)]
    kinds = [f"{part.dtype}{tuple(part.shape[1:])}".encode() for part in parts]
    # labels of any type are the same labels
    kinds, parts = [*kinds, b"labels"], [*parts, labels.detach().cpu().double()]
    found = []
    for n in range(len(labels)):
        digest = hashlib.blake2b(digest_size=8)
        for kind, part in zip(kinds, parts, strict=True):
            digest.update(kind)
            digest.update(part[n].reshape(-1).view(torch.uint8).numpy().data)
        found.append(int.from_bytes(digest.digest(), "little", signed=True))
    return torch.tensor(found, dtype=torch.int64)


class VerifiedLoader:
    """A loader that raises unless it gives the inputs that an earlier pass has seen, in their order.

    Args:
        loader: batches with labels.
        expected: `hashes` of all images, as the earlier pass saw them.
        wanted: positions of images to keep.

    Attributes:
        kept: inputs of one image and its label, by position.

    >>> images, labels = torch.rand(4, 2), torch.arange(4)
    >>> loader = VerifiedLoader([(images, labels)], hashes(images, labels), wanted={2})
    >>> [len(batch[1]) for batch in loader], int(loader.kept[2][1])
    ([4], 2)
    """

    def __init__(self, loader: Iterable[Any], expected: Tensor, wanted: Iterable[int] = ()) -> None:
        self.loader, self.expected, self.wanted = loader, expected, set(wanted)
        self.kept: dict[int, tuple[Inputs, Tensor]] = {}

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        seen = 0
        for batch in self.loader:
            inputs, labels = split_batch(batch)
            single = labels.reshape(-1) if labels.shape[1:] == (1,) else labels
            expected = self.expected[seen : seen + len(labels)]
            if not torch.equal(hashes(inputs, single), expected):
                raise ValueError(OTHER)
            for n in self.wanted.intersection(range(seen, seen + len(labels))):
                one = each(rows(inputs, n - seen), torch.clone)
                self.kept[n] = one, labels[n - seen]
            seen += len(labels)
            yield inputs, labels
        if seen != len(self.expected):
            raise ValueError(OTHER)

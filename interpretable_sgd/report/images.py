"""Images from a folder of class folders; what cannot be read is skipped, counted and named."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from interpretable_sgd.analysis.concepts.pictures import UNREADABLE

Item = tuple[Tensor | None, int, str, str]


def to_input(
    image: Image.Image, size: int, resize: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """An image as evaluation sees it: shorter side to `resize`, centre cut to `size`, normalised.

    Grey, palette and CMYK images become RGB.

    >>> to_input(Image.new("L", (40, 20)), 8, 10, [0.5], [0.5]).shape
    torch.Size([3, 8, 8])
    """
    image = image.convert("RGB")
    scale = resize / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized.crop((left, top, left + size, top + size)), dtype=np.float32) / 255
    return normalized(torch.from_numpy(pixels).permute(2, 0, 1), mean, std)


def normalized(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std by channel."""
    shape = (-1, 1, 1)
    return (image - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


class ClassFolders(Dataset[Item]):
    """Images under `root/CLASS/`, classes in the order of their names.

    An item is (input, class, path, reason); the input is None where the file cannot be read.

    Args:
        root: folder of class folders.
        prepare: image to input.
        limit: at most so many images, spread evenly; None for all.

    Raises:
        ValueError: there is no folder, no class folder, or no image.
    """

    def __init__(
        self, root: Path, prepare: Callable[[Image.Image], Tensor], limit: int | None = None
    ) -> None:
        from torchvision.datasets import ImageFolder

        if not root.is_dir():
            raise ValueError(f"images must be a folder, and {root} is none")
        if not any(path.is_dir() for path in root.iterdir()):
            raise ValueError(f"images must have a folder for each class, and {root} has none")
        folder = ImageFolder(str(root), allow_empty=True)
        self.classes: list[str] = folder.classes
        self.samples: list[tuple[str, int]] = folder.samples
        if not self.samples:
            raise ValueError(f"images must hold images, and {root} has none in its class folders")
        if limit is not None and limit < len(self.samples):
            chosen = np.linspace(0, len(self.samples) - 1, limit).round().astype(int)
            self.samples = [self.samples[i] for i in chosen]
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        path, label = self.samples[index]
        try:
            with Image.open(path) as image:
                return self.prepare(image), label, path, ""
        except UNREADABLE as error:
            return None, label, path, " ".join(str(error).split())


class Readable:
    """Batches of the images that can be read; `skipped` names the others, each once.

    Args:
        images: from folders.
        batch: images of a batch.
        workers: processes that read; 0 reads in this one.
        order: class of the model for each class folder.
    """

    def __init__(
        self, images: ClassFolders, batch: int, workers: int, order: Sequence[int]
    ) -> None:
        self._loader: DataLoader[Item] = DataLoader(
            images, batch_size=batch, num_workers=workers, collate_fn=list
        )
        self._order, self._skipped = order, dict[str, str]()

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Path and reason of each file that could not be read."""
        return tuple(self._skipped.items())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for items in self._loader:
            good = [(image, self._order[label]) for image, label, *_ in items if image is not None]
            self._skipped |= {path: why for image, _, path, why in items if image is None}
            if good:
                images, labels = zip(*good, strict=True)
                yield torch.stack(images), torch.tensor(labels)


def class_order(
    folders: Sequence[str], names: Sequence[str] | None, outputs: int
) -> tuple[list[str], list[int]]:
    """Names of the model's classes, and the class that each folder is.

    Args:
        folders: class folders, in order.
        names: of all outputs of the model, in order; None if the folders are those.
        outputs: of the model.

    Raises:
        ValueError: names or folders do not fit the outputs.

    >>> class_order(["cat", "dog"], ["bird", "dog", "cat"], 3)
    (['bird', 'dog', 'cat'], [2, 1])
    """
    if names is None:
        if len(folders) != outputs:
            raise ValueError(
                f"images must have {outputs} class folders, one for each output of the model, got "
                f"{len(folders)}: --class-names names all outputs in order"
            )
        return list(folders), list(range(outputs))
    if len(names) != outputs:
        raise ValueError(f"class names must be {outputs}, one for each output, got {len(names)}")
    place = {name: c for c, name in enumerate(names)}
    unknown = [folder for folder in folders if folder not in place]
    if unknown and len(folders) == outputs:
        return list(names), list(range(outputs))
    if unknown:
        raise ValueError(f"class folders must be among the class names, got {unknown[0]!r}")
    return list(names), [place[folder] for folder in folders]


def shifted(images: Tensor) -> Tensor:
    """Images moved right by a 32nd of their width, at least a pixel, the edge repeated.

    >>> shifted(torch.tensor([[[[1.0, 2.0, 3.0]]]])).tolist()
    [[[[1.0, 1.0, 2.0]]]]
    """
    step = max(1, images.shape[-1] // 32)
    edge: Any = images[..., :1].expand(*images.shape[:-1], step)
    return torch.cat([edge, images[..., :-step]], -1)

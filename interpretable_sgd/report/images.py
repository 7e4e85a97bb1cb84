"""Images from a folder of class folders; what cannot be read is skipped, counted and named."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as transforms

from interpretable_sgd.analysis.concepts.files import image_files, printable, unit_range

Item = tuple[Tensor | None, int, str, str]

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of Pillow, by channels
STRETCH = 16  # longer sides by shorter ones, above which an image is cut before it is enlarged


def to_input(
    image: Image.Image,
    size: int,
    resize: int,
    mean: Sequence[float],
    std: Sequence[float],
    channels: int = 3,
) -> Tensor:
    """An image as evaluation sees it: shorter side to `resize`, centre cut to `size`, normalised.

    The transforms are torchvision's. Grey, palette and CMYK images become RGB; grey of more than 8
    bits is scaled by the range of its mode.

    Args:
        image: in any mode.
        size: side of the input, in pixels.
        resize: shorter side before the cut, at least `size`.
        mean: of each channel, or one for all.
        std: likewise.
        channels: of the input: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.

    Raises:
        ValueError: values are in no range that is known.

    >>> to_input(Image.new("L", (40, 20)), 8, 10, [0.5], [0.5]).shape
    torch.Size([3, 8, 8])
    """
    deep = unit_range(image)
    image = image.convert(MODES[channels]) if deep is None else Image.fromarray(deep)
    image = _cut_if_narrow(image, size / resize)
    resized: Any = transforms.resize(image, [resize])
    pixels = transforms.pil_to_tensor(transforms.center_crop(resized, [size]))
    values = pixels.float() / 255 if deep is None else _of_grey(pixels, channels)
    return transforms.normalize(values, list(mean), list(std))


def _of_grey(grey: Tensor, channels: int) -> Tensor:
    """One plane as so many channels; alpha is 1."""
    colours = grey.expand(channels - (channels + 1) % 2, -1, -1)
    return colours if channels % 2 else torch.cat([colours, torch.ones_like(grey)])


def _cut_if_narrow(image: Image.Image, share: float) -> Image.Image:
    """The middle of a very long image: enlarged as a whole, 1 x 10,000 pixels would fill the memory.

    Args:
        image: to be resized and cut.
        share: of its shorter side that the cut keeps, at most 1.
    """
    width, height = image.size
    short, long = sorted((width, height))
    if long <= STRETCH * max(1, short):
        return image
    # as much as is shown, and a margin that interpolation reads from
    kept = min(long, int(share * short) + 2 * max(4, short))
    first = (long - kept) // 2
    box = (first, 0, first + kept, height) if width > height else (0, first, width, first + kept)
    return image.crop(box)


def concept_input(
    image: Tensor, size: int, mean: Sequence[float], std: Sequence[float], channels: int = 3
) -> Tensor:
    """A whole concept image as the model's input: not cut, so that its masks stay in place.

    Args:
        image: (1 or 3, h, w), uint8 or float in [0, 1].
        size: side of the input, in pixels.
        mean: as for `to_input`.
        std: as for `to_input`.
        channels: of the input; alpha is 1.
    """
    image = image.float() / 255 if image.dtype == torch.uint8 else image
    values: Tensor = transforms.resize(image.expand(3, -1, -1), [size, size], antialias=True)
    if channels < 3:
        values = transforms.rgb_to_grayscale(values)
    if channels % 2 == 0:
        values = torch.cat([values, torch.ones_like(values[:1])])
    return transforms.normalize(values, list(mean), list(std))


def channels_read(model: nn.Module) -> int:
    """Channels of the images that a model reads: those of its first convolution, else 3."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels if module.in_channels in MODES else 3
    return 3


class ClassFolders(Dataset[Item]):
    """Images under `root/CLASS/`, classes in the order of their names.

    An item is (input, class, path, reason); the input is None where the file cannot be read. Hidden
    files and folders are no images and no classes; links to folders are followed once.

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
        if not root.is_dir():
            raise ValueError(f"images must be a folder, and {printable(root)} is none")
        folders = sorted(
            path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
        if not folders:
            raise ValueError(
                f"images must have a folder for each class, and {printable(root)} has none"
            )
        self.classes = [folder.name for folder in folders]
        self.samples = [
            (str(path), c) for c, folder in enumerate(folders) for path in image_files(folder)
        ]
        if not self.samples:
            raise ValueError(
                f"images must hold images, and {printable(root)} has none in its class folders"
            )
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
        # Damaged files raise nearly anything in Pillow's readers.
        except Exception as error:
            return None, label, path, " ".join(str(error).split()) or type(error).__name__


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
        given = 0
        for items in self._loader:
            good = [(image, self._order[label]) for image, label, *_ in items if image is not None]
            self._skipped |= {path: why for image, _, path, why in items if image is None}
            if good:
                given += len(good)
                images, labels = zip(*good, strict=True)
                yield torch.stack(images), torch.tensor(labels)
        if not given:
            path, why = next(iter(self._skipped.items()))
            raise ValueError(
                f"at least one image must be readable, none is; {printable(path)}: {why}"
            )


class ClassOrder(NamedTuple):
    """Names of a model's classes, the class that each folder is, and how that was found."""

    names: list[str]
    order: list[int]
    reason: str


def class_order(folders: Sequence[str], names: Sequence[str] | None, outputs: int) -> ClassOrder:
    """Names of the model's classes, and the class that each folder is.

    Args:
        folders: class folders, in order.
        names: of all classes of the model, in order; None if the folders are those.
        outputs: classes of the model.

    Raises:
        ValueError: names or folders do not fit the outputs, or some folders have a name of a class
            and others have not.

    >>> class_order(["cat", "dog"], ["bird", "dog", "cat"], 3)[:2]
    (['bird', 'dog', 'cat'], [2, 1])
    """
    alphabetical = list(range(len(folders)))
    if names is None:
        if len(folders) != outputs:
            raise ValueError(
                f"images must have {outputs} class folders, one for each output of the model, got "
                f"{len(folders)}: --class-names names all outputs in order"
            )
        return ClassOrder(list(folders), alphabetical, "class folders in alphabetical order")
    # a byte order mark and blanks at the ends are no part of a name
    names = [name.strip("\ufeff \t\r\n") for name in names]
    if len(names) != outputs:
        raise ValueError(f"class names must be {outputs}, one for each output, got {len(names)}")
    strange = [folder for folder in folders if folder not in names]
    if not strange:
        for folder in folders:
            if names.count(folder) > 1:
                raise ValueError(f"class names must be distinct, and {folder!r} is one twice")
        return ClassOrder(
            names, [names.index(folder) for folder in folders], "folders by their --class-names"
        )
    alike = _alike(strange[0], names)
    if len(strange) < len(folders) or len(folders) != outputs or alike:
        free = [name for name in names if name not in folders]
        raise ValueError(
            f"class folders must be among the class names, got {printable(strange[0])!r}"
            + (f": is it {alike!r}?" if alike else f", while {free[:3]} have no folder")
        )
    return ClassOrder(
        names, alphabetical, "no folder has a name of --class-names: folders in alphabetical order"
    )


def _alike(folder: str, names: Sequence[str]) -> str | None:
    """The class name that a folder's is a misspelling of."""
    plain = {"".join(filter(str.isalnum, name.casefold())): name for name in names}
    own = "".join(filter(str.isalnum, folder.casefold()))
    close = difflib.get_close_matches(own, plain, n=1, cutoff=0.8)
    return plain[close[0]] if own and close else None


def shifted(images: Tensor) -> Tensor:
    """Images moved right by a 32nd of their width, at least a pixel, the edge repeated.

    >>> shifted(torch.tensor([[[[1.0, 2.0, 3.0]]]])).tolist()
    [[[[1.0, 1.0, 2.0]]]]
    """
    step = max(1, images.shape[-1] // 32)
    edge: Any = images[..., :1].expand(*images.shape[:-1], step)
    return torch.cat([edge, images[..., :-step]], -1)

"""One labelled data set as training and evaluation ask for it: augmented, plain, held out, tested."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Subset, default_collate

from experiments.datasets.rng import design_generator
from experiments.datasets.synthetic.base import Generated
from experiments.datasets.transforms import View, Views
from experiments.rng import derived

Labelled = Dataset[tuple[Any, int]]
Indices = NDArray[np.int_]
Key = tuple[int, int]  # epoch, number of the sample
AT_MOST = 10_000  # training samples that choices look at where none are held out


@dataclass(frozen=True)
class LabelledData:
    """Samples of a name, as float tensors that a network takes.

    Attributes:
        name: as on the command line, without path and options.
        class_names: in the order of the labels.
        shape: of a sample: (channels, height, width), or (features,).
        train: asked by (epoch, number); augmented as a function of (seed, epoch, number).
        plain: the same samples, asked by number, without augmentation.
        validation: held out of the training samples, for choices; None if none were held out.
        test: read once, at the end.
        prepare: from any picture (c, h, w), bytes or floats in [0, 1], to what a network is given.
        identity: all that decides the samples, as JSON; where they lie does not.
        source: what draws the images, or images like those of a stand-in, and knows which pixel shows
            what; None for real ones.
    """

    name: str
    class_names: tuple[str, ...]
    shape: tuple[int, ...]
    train: "Augmented"
    plain: Labelled
    validation: Labelled | None
    test: Labelled
    prepare: Callable[[Tensor], Tensor]
    identity: dict[str, Any]
    source: Generated | None = None

    @property
    def classes(self) -> int:
        """Their number."""
        return len(self.class_names)

    @property
    def size(self) -> int:
        """Pixels of a side, or features."""
        return self.shape[-1]

    @property
    def held(self) -> Labelled:
        """What choices look at: validation samples, or some to train on where none are held out."""
        return even_subset(self.plain, AT_MOST) if self.validation is None else self.validation

    def split(self, name: str) -> Labelled:
        """Plain samples of "train", "validation" or "test".

        Raises:
            ValueError: validation was asked for, and nothing is held out.
        """
        if name == "validation" and self.validation is None:
            raise ValueError("hold_out must be above 0, as choices and curves need images, got 0")
        parts = {"train": self.plain, "validation": self.validation, "test": self.test}[name]
        assert parts is not None
        return parts


class InMemory(Dataset[tuple[Tensor, int]]):
    """Samples (n, ...) and labels (n,) in memory; item ``i`` is (sample, label), or a whole batch at once."""

    def __init__(self, samples: Tensor, labels: Tensor) -> None:
        self.samples, self.labels = samples, labels

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.samples[index], int(self.labels[index])

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Samples and labels of several numbers."""
        chosen = torch.as_tensor(indices)
        return self.samples[chosen], self.labels[chosen]


class DrawnInMemory(InMemory):
    """The first n images of a split of generated data, drawn all at once when one of them is asked for."""

    def __init__(self, source: Generated, split: str, n: int) -> None:
        self.source, self.name, self.n = source, split, n

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        return self.source.tensors(self.name, self.n)

    @property
    def samples(self) -> Tensor:  # type: ignore[override]
        """Images (n, c, h, w)."""
        return self._drawn[0]

    @property
    def labels(self) -> Tensor:  # type: ignore[override]
        """Their classes, (n,)."""
        return self._drawn[1]

    def __len__(self) -> int:
        return self.n


class Transformed(Dataset[tuple[Tensor, int]]):
    """A map-style data set of (picture, label) seen through a transform of the picture."""

    def __init__(self, pictures: Labelled, view: View) -> None:
        self.pictures, self.view = pictures, view

    def __len__(self) -> int:
        return size_of(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture, label = self.pictures[index]
        return self.view(picture), int(label)


class Augmented(Dataset[tuple[Tensor, int]]):
    """A data set asked by (epoch, number), whose random transform is a function of (seed, epoch, number).

    So a worker's draws do not depend on how many workers there are, nor on where a run was cut.

    Args:
        samples: map-style, of (sample, label).
        transform: may draw from torch's global generator; None for none, which gives batches of samples in
            memory without a loop.
        seed: of the draws.
    """

    def __init__(self, samples: Labelled, transform: View | None, seed: int) -> None:
        self.samples, self.transform, self.seed = samples, transform, seed

    def __len__(self) -> int:
        return size_of(self.samples)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        sample, label = self.samples[index]
        if self.transform is None:
            return sample, label
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived(self.seed, epoch, index))
            return self.transform(sample), label

    def __getitems__(self, keys: Sequence[Key]) -> Any:
        """A batch, as torch's loader asks for it: tensors, or a list that `collate` makes them of."""
        if self.transform is None and isinstance(self.samples, InMemory):
            return self.samples.batch([index for _, index in keys])
        return [self[key] for key in keys]


def collate(batch: Any) -> tuple[Tensor, Tensor]:
    """Samples and labels of what `Augmented.__getitems__` gave."""
    return batch if isinstance(batch, tuple) else tuple(default_collate(batch))


def size_of(samples: Dataset[Any]) -> int:
    """Length of a map-style data set."""
    return len(samples)  # type: ignore[arg-type]


class Pictures(NamedTuple):
    """What a reader of a format finds on disk.

    Attributes:
        train: map-style, of (picture, label).
        labels: of the training pictures, without reading them.
        test: as train.
        class_names: in the order of the labels.
        identity: of the files, as JSON.
        channels: of a picture.
    """

    train: Labelled
    labels: Sequence[int]
    test: Labelled
    class_names: tuple[str, ...]
    identity: dict[str, Any]
    channels: int = 3


def assemble(
    name: str,
    pictures: Pictures,
    views: Views,
    size: int,
    seed: int,
    each: int | None,
    most: int,
    source: Generated | None = None,
) -> LabelledData:
    """Hold validation pictures out, and put the transforms before all.

    Args:
        name: of the data set.
        pictures: on disk.
        views: transforms.
        size: pixels of a side after them.
        seed: of augmentation.
        each: pictures of each class to hold out; None for a fifth, at most `most`.
        most: see there.
        source: what drew them, if they are a stand-in.
    """
    each = usual(pictures.labels, most) if each is None else each
    stay, held = hold_out(pictures.labels, each)
    train, validation = _part(pictures.train, stay, views), _part(pictures.train, held, views)
    seen = [_plain(part, views) for part in (train, validation, _part(pictures.test, None, views))]
    return LabelledData(
        name=name,
        class_names=pictures.class_names,
        shape=(pictures.channels, size, size),
        train=Augmented(train, views.train, seed),
        plain=seen[0],
        validation=seen[1] if each else None,
        test=seen[2],
        prepare=views.prepare,
        identity={"name": name, "size": size, "hold_out": each, "seed": seed, **pictures.identity},
        source=source,
    )


def _part(pictures: Labelled, which: Indices | None, views: Views) -> Labelled:
    """Some pictures; those in memory that nothing random happens to are transformed here, all at once."""
    if views.train is None and isinstance(pictures, InMemory):
        kept = slice(None) if which is None else torch.from_numpy(which)
        return InMemory(views.plain(pictures.samples[kept]), pictures.labels[kept])
    # an array, as a list of a million numbers would be copied into every worker
    return pictures if which is None else Subset(pictures, which)  # type: ignore[arg-type]


def _plain(pictures: Labelled, views: Views) -> Labelled:
    done = views.train is None and isinstance(pictures, InMemory)
    return pictures if done else Transformed(pictures, views.plain)


def hold_out(labels: Sequence[int] | Indices, each: int) -> tuple[Indices, Indices]:
    """Indices of the samples that stay and of those held out, both ascending.

    The choice is a function of the labels alone, not of a run's seed: runs of several seeds are chosen
    between on the same samples.

    Args:
        labels: class of each sample, (n,).
        each: samples of every class to hold out, >= 0; the smallest class keeps at least one.

    Raises:
        ValueError: ``each`` is negative, or takes a whole class.

    >>> stay, held = hold_out([0, 1, 0, 1, 0, 1], 1)
    >>> len(stay), sorted(np.array([0, 1, 0, 1, 0, 1])[held].tolist())
    (4, [0, 1])
    """
    labels = np.asarray(labels)
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    if not 0 <= each < smallest:
        raise ValueError(
            f"hold_out must be at least 0 and less than the {smallest} images of the smallest "
            f"class, got {each}"
        )
    shuffled = design_generator(0).permutation(len(labels))
    by_class = shuffled[labels[shuffled].argsort(kind="stable")]
    starts = np.searchsorted(labels[by_class], np.unique(labels))
    held = np.sort(by_class[(starts[:, None] + np.arange(each)).ravel()])
    return np.setdiff1d(np.arange(len(labels)), held), held


def usual(labels: Sequence[int] | Indices, most: int) -> int:
    """Samples of each class to hold out unless told: a fifth of the smallest class, at most ``most``.

    >>> usual([0] * 5000 + [1] * 5000, most=500), usual([0] * 10, most=500)
    (500, 2)
    """
    return min(most, int(np.unique(np.asarray(labels), return_counts=True)[1].min()) // 5)


def even_subset(samples: Dataset[Any], count: int) -> Subset[Any]:
    """At most so many samples, always the same ones, drawn at random.

    Evenly spaced ones would see few classes where labels take turns.

    >>> list(even_subset(range(10), 4))
    [1, 4, 5, 7]
    """
    drawn = torch.randperm(size_of(samples), generator=torch.Generator().manual_seed(0))[:count]
    return Subset(samples, drawn.sort().values.tolist())

"""One image explained: the units that made its logits, where they looked, and what is left over.

Index legend: `n` image, `m` unit, `c` class; the predicted class comes first, the runner-up second.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from interpretable_sgd.analysis.composition import strongest
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.maps import Maps, captured
from interpretable_sgd.analysis.passes import reading

Picture = Callable[[Tensor], Tensor]


def stretched(image: Tensor) -> Tensor:
    """A model's input as a picture in [0, 1]: as it is if it lies there, else stretched to it.

    >>> stretched(torch.tensor([-1.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    low, high = min(0.0, float(image.min())), max(1.0, float(image.max()))
    return (image - low) / (high - low)


def denormalized(mean: Sequence[float], std: Sequence[float]) -> Picture:
    """The inverse of `torchvision.transforms.Normalize`, as a function for `picture=`.

    >>> denormalized([0.5], [0.25])(torch.tensor([[[2.0]]])).item()
    1.0
    """
    shape = (-1, 1, 1)
    centre, scale = torch.tensor(mean).view(shape), torch.tensor(std).view(shape)
    return lambda image: (image * scale + centre).clamp(0, 1)


def heat(activation: Tensor, size: tuple[int, int]) -> Tensor:
    """A unit's map over its image, in [0, 1]: 0 at its least value, 1 at its largest.

    Bilinear between the centres of positions (`align_corners=False`), each side on its own: the
    heat has the image's shape, whatever the map's. A flat map says nothing of where: it gives zeros.

    Args:
        activation: (..., h, w).
        size: height and width of the image.

    Returns:
        (..., height, width).

    >>> heat(torch.tensor([[0.0, 4.0]]), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    >>> heat(torch.ones(2, 2), (2, 2)).sum().item()
    0.0
    """
    planes = activation.reshape(-1, 1, *activation.shape[-2:]).float()
    planes = functional.interpolate(planes, size, mode="bilinear", align_corners=False)
    low = planes.amin((2, 3), keepdim=True)
    span = planes.amax((2, 3), keepdim=True) - low
    scaled = (planes - low) / torch.where(span > 0, span, 1)
    return scaled.reshape(*activation.shape[:-2], *size)


@dataclass(frozen=True)
class Reason:
    """One unit's part in a logit.

    Attributes:
        unit: counted from 0.
        contribution: signed; parts, rest and bias add up to the logit.
        map: of the unit, (h, w), float32; None where the layer has no maps.
    """

    unit: int
    contribution: float
    map: Tensor | None


@dataclass(frozen=True)
class Verdict:
    """A logit as a sum: reasons, largest first, then the rest of the units, then the bias."""

    class_index: int
    logit: float
    bias: float
    reasons: tuple[Reason, ...]
    rest: float

    @property
    def residual(self) -> float:
        """Share of the sum of the units' contributions that the reasons leave out."""
        total = sum(reason.contribution for reason in self.reasons) + self.rest
        return self.rest / total if total else 0.0


@dataclass(frozen=True)
class Explanation:
    """An image with the verdicts on it: the predicted class, then the runner-up.

    Attributes:
        index: of the image in its data set, counted from 0.
        label: its true class.
        picture: (3, h, w), uint8.
        verdicts: two, or one if there is one class only.
    """

    index: int
    label: int
    picture: Tensor
    verdicts: tuple[Verdict, ...]

    @property
    def is_right(self) -> bool:
        """Whether the predicted class is the label."""
        return self.verdicts[0].class_index == self.label


@torch.no_grad()
def explain(
    model: nn.Module,
    images: Tensor,
    labels: Sequence[int],
    head: Head,
    layer: nn.Module | None = None,
    *,
    top: int = 5,
    indices: Sequence[int] | None = None,
    picture: Picture = stretched,
) -> list[Explanation]:
    r"""Explain the decisions on some images by the parts that their logits are the sum of.

    .. math:: z_{nc} = b_{nc} + \sum_{m \in top} P_{ncm} + \text{rest}

    The predicted class is explained, not the true one, which would hide errors.

    Args:
        model: run in evaluation mode; its mode is restored.
        images: inputs of the model, (n, channels, h, w), on its device.
        labels: true classes, n.
        head: as `find_head` gives it.
        layer: whose output maps are the head's units, for the heat maps.
        top: reasons shown of each verdict, >= 1, by size.
        indices: of the images in their data set; 0, 1, ... if None.
        picture: turns an input on the CPU to RGB or grey in [0, 1], (1 or 3, h, w).

    Raises:
        ValueError: top is below 1.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    >>> (image,) = explain(model, torch.rand(1, 3, 2, 2), [0], Head(model[1], "1"), top=4)
    >>> verdict = image.verdicts[0]
    >>> parts = sum(reason.contribution for reason in verdict.reasons)
    >>> abs(parts + verdict.rest + verdict.bias - verdict.logit) < 1e-6
    True
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    with reading(model, head) as read, captured(layer) if layer else nullcontext(Maps()) as maps:
        model(images)
        units, logits = read.take()
    values = maps.values.float().cpu() if layer else None
    classes = logits.topk(min(2, logits.shape[1]), dim=1).indices
    verdicts = [
        _verdicts(logits, head, units, classes[:, j], values, top) for j in range(classes.shape[1])
    ]
    return [
        Explanation(
            index=n if indices is None else indices[n],
            label=int(labels[n]),
            picture=as_bytes(picture(images[n].cpu())),
            verdicts=tuple(of_class[n] for of_class in verdicts),
        )
        for n in range(len(images))
    ]


def as_bytes(picture: Tensor) -> Tensor:
    """Grey or RGB in [0, 1] as RGB in 0 .. 255, (3, h, w), uint8."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).expand(3, -1, -1).contiguous()


def _verdicts(
    logits: Tensor, head: Head, units: Tensor, classes: Tensor, maps: Tensor | None, top: int
) -> list[Verdict]:
    """One verdict an image, on one class each."""
    parts, biases = (tensor.double().cpu() for tensor in head.terms(units, classes))
    found = []
    for n, c in enumerate(classes.tolist()):
        kept = parts[n].abs().topk(min(top, parts.shape[1])).indices.tolist()
        reasons = tuple(
            Reason(m, float(parts[n, m]), None if maps is None else maps[n, m].clone())
            for m in kept
            if parts[n, m] != 0
        )
        rest = float(parts[n].sum()) - sum(reason.contribution for reason in reasons)
        others = parts.shape[1] - len(reasons)
        found.append(
            Verdict(c, float(logits[n, c]), float(biases[n]), reasons, rest if others else 0.0)
        )
    return found


@dataclass(frozen=True)
class Contrast:
    """What tells two classes apart.

    Attributes:
        first: class.
        second: class.
        confused: images of one that are taken for the other.
        shared: (unit, weight in first, weight in second), units that both read.
        only_first: (unit, weight), units that the first class alone reads.
        only_second: (unit, weight).
    """

    first: int
    second: int
    confused: int
    shared: tuple[tuple[int, float, float], ...]
    only_first: tuple[tuple[int, float], ...]
    only_second: tuple[tuple[int, float], ...]


def contrast(
    weight: Tensor, first: int, second: int, *, confused: int = 0, top: int = 5
) -> Contrast:
    """Units that two classes share, and those that one of them reads alone.

    A class reads the `top` units of largest |weight| among those of at least 1e-3.

    Args:
        weight: (C, M).
        first: class.
        second: another class.
        confused: images of one that are taken for the other.
        top: units of a class, >= 1.

    Raises:
        ValueError: the classes are the same.

    >>> found = contrast(torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]]), 0, 1)
    >>> found.shared, found.only_first, found.only_second
    (((1, 2.0, 1.0),), ((0, 1.0),), ((2, 3.0),))
    """
    if first == second:
        raise ValueError(f"first and second must be two classes, got {first} twice")
    one = dict(strongest(weight[first], top))
    two = dict(strongest(weight[second], top))
    return Contrast(
        first,
        second,
        confused,
        tuple((m, w, two[m]) for m, w in one.items() if m in two),
        tuple((m, w) for m, w in one.items() if m not in two),
        tuple((m, w) for m, w in two.items() if m not in one),
    )


def confused_pairs(labels: Tensor, predicted: Tensor, count: int) -> list[tuple[int, int, int]]:
    """Pairs of classes most often taken for one another: (first, second, images).

    >>> confused_pairs(torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2]), 3)
    [(0, 1, 2)]
    """
    wrong = labels != predicted
    pairs = torch.stack((labels[wrong], predicted[wrong]), 1).sort(1).values
    if not len(pairs):
        return []
    found, times = pairs.unique(dim=0, return_counts=True)
    order = times.argsort(descending=True, stable=True)[:count].tolist()
    return [(int(found[i, 0]), int(found[i, 1]), int(times[i])) for i in order]

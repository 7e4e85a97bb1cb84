"""From pictures to what a network sees: augmented for training, plain for evaluation."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import v2

View = Callable[[Any], Tensor]

# mean and standard deviation of the pixels of CIFAR-10's 50,000 training images
CIFAR10 = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
# of ImageNet's, which the authors of Places365 use for their nets too
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WHOLE, PART = 256, 224  # pixels of a side before and after the crop of an evaluated ImageNet image


class Views(NamedTuple):
    """Transforms of a picture (c, h, w), bytes, or floats in [0, 1].

    Attributes:
        train: may draw from torch's global generator; None where nothing random happens.
        plain: of the same pictures, for evaluation.
        prepare: of any picture: resized whole to the net's size, as concepts may lie at its rim.
    """

    train: View | None
    plain: View
    prepare: View


def small_photographs(size: int = 32) -> Views:
    """CIFAR-10's: a random crop of the picture with 4 black pixels around it, and a flip."""
    end = _normalised(*CIFAR10)
    train = v2.Compose([v2.RandomCrop(size, padding=4), v2.RandomHorizontalFlip(), end])
    return Views(train, end, _whole(size, end))


def photographs(size: int) -> Views:
    """ImageNet's: a random part, resized, and a flip; for evaluation the middle 7/8 of the shorter side.

    Args:
        size: pixels of a side of what the net sees.
    """
    end = _normalised(*IMAGENET)
    train = v2.Compose([v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip(), end])
    resize = v2.Resize(round(size * WHOLE / PART), antialias=True)
    return Views(train, v2.Compose([resize, v2.CenterCrop(size), end]), _whole(size, end))


def grey(mean: float, deviation: float, size: int = 28) -> Views:
    """Grey pictures whose position says what they are, as MNIST's: normalised, nothing random."""
    end = _normalised([mean], [deviation])
    return Views(None, end, _whole(size, end))


def drawings(size: int) -> Views:
    """Generated images, as they are drawn: nothing random, no normalisation.

    Any number of new images can be drawn, and a flip would show what no other split does: a corner of
    the other hand, a picture plane tilted the other way.
    """
    end = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.ToPureTensor()])
    return Views(None, end, _whole(size, end))


def _normalised(mean: Sequence[float], deviation: Sequence[float]) -> View:
    floats = v2.ToDtype(torch.float32, scale=True)
    return v2.Compose([v2.ToImage(), floats, v2.Normalize(mean, deviation), v2.ToPureTensor()])


def _whole(size: int, end: View) -> View:
    return v2.Compose([v2.ToImage(), v2.Resize((size, size), antialias=True), end])

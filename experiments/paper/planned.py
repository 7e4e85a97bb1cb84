"""A run that somebody wants: what names it in a grid, on the disk and in a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from experiments.paper import store

# network and method of the net whose head is cut, and on whose units sparse heads are fitted
DENSE = ("resnet18", "sgd")


@dataclass(frozen=True)
class Planned:
    """One training.

    Attributes:
        network: the net's name, as `networks.build` reads it.
        method: how it is trained, as `methods.method` reads it.
        data: the data set's name, with its options but without its path.
        scale: one of `recipes.SCALES`.
        seed: of the weights, the order, the augmentation and the masks.

    >>> Planned("resnet18_d5a", "sgd", "cifar10", "tiny", 0).label
    'resnet18_d5a-sgd-cifar10-tiny-seed0'
    """

    network: str
    method: str
    data: str
    scale: str
    seed: int

    @property
    def label(self) -> str:
        """The readable part of its folder's name."""
        return store.label(asdict(self))

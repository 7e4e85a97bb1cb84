"""The value that a unit exceeds at half a percent of all positions: one pass, bounded memory.

Index legend: ``n`` image, ``u`` unit, ``t`` position of any map of any image.

The quantile lies at the top, so the largest values are all that must be kept: exact while they fit,
and beyond that exact on a random sample of positions, whose rank error does not depend on the data.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

LEAST_ROOM = 64
UNITS_AT_ONCE = 64  # topk makes indices of 8 bytes beside its values


def check_quantile(quantile: float) -> None:
    """Raise unless it is the share of positions that a mask may cover."""
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must be between 0 and 1, got {quantile}")


class HighestValues:
    r"""The largest values of every unit, from which its threshold is read.

    .. math:: T_u = \min \{a : \#\{t: a_{ut} > a\} \le q N\}

    which is the floor(q N) + 1-st largest of the N values of a unit, so that P(a_u > T_u) <= q, with
    equality up to 1/N unless values are tied.

    At most ``memory / (8 u)`` values a unit are kept. If q N is more, each position enters a sample
    with a probability r that makes them suffice, independently, the same positions for all units.
    The share of all positions above the sample's quantile then has standard error
    sqrt(q (1 - q) (1 - r) / (r N)): relative to q, one over the root of the values kept.

    Args:
        units: u.
        positions: N, counted over all images before any is read; an overestimate only wastes room.
        quantile: q, in (0, 1).
        memory: bytes for the values of all units, of which half are kept and half wait.
        seed: of the sample.

    >>> highest = HighestValues(1, positions=1000, quantile=0.005)
    >>> highest.add(torch.arange(1000.0).view(10, 1, 10, 10), range(10))
    >>> highest.thresholds(), highest.rank_error
    (tensor([994.]), 0.0)
    """

    def __init__(
        self, units: int, positions: int, quantile: float, memory: int = 2**28, seed: int = 0
    ) -> None:
        check_quantile(quantile)
        room = memory // (8 * units)
        if room < LEAST_ROOM:
            raise ValueError(
                f"memory must be at least {8 * units * LEAST_ROOM} bytes for {units} units, "
                f"got {memory}"
            )
        wanted = math.floor(quantile * positions) + 1
        self.quantile, self.seed = quantile, seed
        # the rank wanted varies with the sample's size: six of its standard errors of room
        sure = room - 1 - 6 * math.sqrt(quantile * room)
        self.rate = 1.0 if wanted <= room else sure / (quantile * positions)
        self.kept = min(wanted, room)
        self.seen = 0
        self.sampled = 0
        self._values = torch.empty(units, 2 * self.kept)
        self._filled = 0

    def add(self, maps: Tensor, images: Sequence[int]) -> None:
        """Take the values of a block of images in.

        Args:
            maps: (n, u, h, w), float32.
            images: number of each image in the data set, (n,); decides which positions are sampled,
                whatever the blocks.
        """
        for single, image in zip(maps.flatten(2), images, strict=True):
            self.seen += single.shape[1]
            chosen = single if self.rate == 1 else single[:, self._sample(image, single.shape[1])]
            self.sampled += chosen.shape[1]
            while chosen.shape[1]:
                chosen = self._take(chosen)

    def thresholds(self) -> Tensor:
        """T_u of what was added, (u,), float32.

        Raises:
            ValueError: nothing was added, or more than was announced.
        """
        if not self.sampled:
            raise ValueError("thresholds need at least one position, got none")
        rank = math.floor(self.quantile * self.sampled) + 1
        if rank > self.kept:
            raise ValueError(
                f"positions must be at least the number added, {self.seen}: "
                f"rank {rank} was not kept, only {self.kept} values"
            )
        return self._values[:, : self._filled].topk(rank).values[:, -1]

    @property
    def rank_error(self) -> float:
        """Standard error of the share of all positions above a threshold; 0 where all were kept."""
        q = self.quantile
        return math.sqrt(q * (1 - q) * (1 - self.rate) / max(1, self.sampled))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        values = self._values[:, : self._filled].clone()
        return {"values": values, "seen": self.seen, "sampled": self.sampled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        values = state["values"]
        self._filled = values.shape[1]
        self._values[:, : self._filled] = values
        self.seen, self.sampled = state["seen"], state["sampled"]

    def _take(self, values: Tensor) -> Tensor:
        """Store as many columns as there is room for; returns the others."""
        free = self._values.shape[1] - self._filled
        if not free:
            for rows in self._values.split(UNITS_AT_ONCE):
                rows[:, : self.kept] = rows.topk(self.kept, sorted=False).values
            self._filled, free = self.kept, self.kept
        now = values[:, :free]
        self._values[:, self._filled : self._filled + now.shape[1]] = now
        self._filled += now.shape[1]
        return values[:, free:]

    def _sample(self, image: int, positions: int) -> Tensor:
        generator = np.random.default_rng([self.seed, image])
        return torch.from_numpy(generator.random(positions) < self.rate)

"""Learning-rate schedules: the factor on the learning rate, as a function of the epoch reached."""

from __future__ import annotations

import math
from dataclasses import dataclass

KINDS = ("constant", "cosine", "steps")


@dataclass(frozen=True)
class Schedule:
    """A factor in [0, 1] on the learning rate of every param group.

    Args:
        kind: "constant"; "cosine", from 1 to 0 over the run; "steps", times `by` every `every` epochs.
        every: epochs, may be fractional.
        by: factor of a step.
        warmup: epochs over which the factor rises from a tenth, before the schedule goes on.

    >>> paper = Schedule("steps", every=70, by=0.1)
    >>> [round(paper.factor(epoch, 200), 6) for epoch in (0, 69.9, 70, 140, 199)]
    [1.0, 1.0, 0.1, 0.01, 0.01]
    >>> [round(Schedule("cosine", warmup=1).factor(epoch, 11), 2) for epoch in (0.5, 1, 6, 11)]
    [0.55, 1.0, 0.5, 0.0]
    """

    kind: str = "constant"
    every: float = 70.0
    by: float = 0.1
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not self.every > 0:
            raise ValueError(f"every must be above 0, got {self.every}")
        if not 0 < self.by <= 1:
            raise ValueError(f"by must be in (0, 1], got {self.by}")
        if self.warmup < 0:
            raise ValueError(f"warmup must be at least 0, got {self.warmup}")

    def factor(self, epoch: float, epochs: float) -> float:
        """The factor at an epoch in [0, epochs], which may be fractional."""
        if epoch < self.warmup:
            return 0.1 + 0.9 * epoch / self.warmup
        if self.kind == "cosine":
            length = max(epochs - self.warmup, 1e-12)
            return (1 + math.cos(math.pi * (epoch - self.warmup) / length)) / 2
        if self.kind == "steps":
            # a step is due at the very batch, however the division rounds
            return self.by ** math.floor(epoch / self.every + 1e-9)
        return 1.0

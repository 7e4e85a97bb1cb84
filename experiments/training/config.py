"""How a net is trained: everything about a run that is not the net, its optimizer or its data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from experiments.training.schedules import Schedule

PARALLEL = ("ddp", "fsdp")
INDIFFERENT = ("checkpoint_every", "parallel")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Args:
        epochs: passes over the training images.
        batch: images in a step, on all ranks together.
        schedule: of the learning rate, step by step.
        seed: of the order, the augmentation and every global generator.
        accumulate: equal parts that a step's batch is computed in; batch norm sees the parts.
        precision: "float32", or autocast to "bfloat16" or "float16", the latter with a loss scale.
        channels_last: memory format of images and weights.
        compiled: run the net through torch.compile.
        ema: decay in (0, 1) of an average of the weights that is evaluated in their place; None: none.
        checkpoint_every: steps between checkpoints.
        parallel: how several ranks hold the net, "ddp" whole or "fsdp" in parts.
    """

    epochs: int
    batch: int
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0
    accumulate: int = 1
    precision: str = "float32"
    channels_last: bool = False
    compiled: bool = False
    ema: float | None = None
    checkpoint_every: int = 1000
    parallel: str = "ddp"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch % self.accumulate:
            raise ValueError(
                f"batch must be a multiple of accumulate {self.accumulate}, got {self.batch}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        if self.parallel not in PARALLEL:
            raise ValueError(
                f"parallel must be one of {', '.join(PARALLEL)}, got {self.parallel!r}"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must be None or in (0, 1), got {self.ema}")

    def config(self) -> dict[str, Any]:
        """What of it decides the result; how often it is saved and how ranks hold it does not."""
        return {k: v for k, v in asdict(self).items() if k not in INDIFFERENT}

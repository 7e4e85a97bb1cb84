"""Curves for TensorBoard, where it is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import TracebackType

from experiments.training.loop import Progress


class Curves:
    """A `report` of `Training.run` that writes loss and learning rate.

    Args:
        folder: that `tensorboard --logdir` is given.
        every: steps between points.

    Raises:
        ImportError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        try:
            writers = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise ImportError(
                "curves need TensorBoard: pip install -e '.[tensorboard]' installs it"
            ) from error
        self._writer, self._every = writers.SummaryWriter(str(folder)), every

    def __call__(self, at: Progress) -> None:
        """Write a point, if one is due."""
        if at.step % self._every == 0 or at.step == at.steps:
            self._writer.add_scalar("loss", at.loss(), at.step)
            self._writer.add_scalar("learning rate", at.lr, at.step)

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

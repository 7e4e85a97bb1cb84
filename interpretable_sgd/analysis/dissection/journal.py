"""How far the two passes of a dissection have come, on disk, so that they go on after a cut."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.dissection.blocks import Block
from interpretable_sgd.analysis.dissection.tally import Tally
from interpretable_sgd.analysis.dissection.thresholds import HighestValues

SECONDS = 60  # between two writes of a checkpoint


class Journal:
    """Which blocks are done, which images were skipped, and what the passes hold.

    Args:
        path: of the checkpoint; None keeps none.
        owner: what the checkpoint must belong to.
        blocks: number of blocks of a pass.
        highest: what the first pass fills; goes on from the checkpoint.
        tally: what the second fills; likewise.

    Raises:
        ValueError: the checkpoint belongs to something else.
    """

    def __init__(
        self,
        path: Path | None,
        owner: dict[str, Any],
        blocks: int,
        highest: HighestValues,
        tally: Tally,
    ) -> None:
        self.done, self.images = 0, 0
        self.skipped: dict[str, str] = {}
        self._path, self._owner, self._blocks = path, owner, blocks
        self._highest, self._tally = highest, tally
        self._written = time.monotonic()
        state = checkpoints.load(path, owner)
        if state is not None:
            self.done, self.images, self.skipped = state["done"], state["read"], state["skipped"]
            highest.load_state_dict(state["highest"])
            if "tally" in state:
                tally.load_state_dict(state["tally"])

    @property
    def first(self) -> int:
        """Block that the first pass goes on from."""
        return min(self.done, self._blocks)

    @property
    def second(self) -> int:
        """Block that the second pass goes on from."""
        return max(0, self.done - self._blocks)

    def first_pass(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The blocks that hold images; each is done when the next one is asked for."""
        return self._walk(blocks, 0)

    def second_pass(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """As the first, and counts the images."""
        return self._walk(blocks, 1)

    def _walk(self, blocks: Iterable[Block], counted: int) -> Iterator[Block]:
        before = self.done
        for block in blocks:
            if block.indices:
                yield block
            self.skipped.update(block.skipped)
            self.images += counted * len(block.indices)
            self.done += 1
            if time.monotonic() - self._written > SECONDS:
                self._write()
        if self.done > before:
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        state = {"done": self.done, "read": self.images, "skipped": self.skipped}
        state["highest"] = self._highest.state_dict()
        if self.done > self._blocks:
            state["tally"] = self._tally.state_dict()
        checkpoints.save({**self._owner, **state}, self._path)
        self._written = time.monotonic()

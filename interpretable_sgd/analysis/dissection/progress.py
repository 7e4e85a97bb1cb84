"""Progress of the two passes of a dissection, kept on disk, so that a run that was cut off goes on."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.checkpoints import CheckpointError, StaleCheckpointError
from interpretable_sgd.analysis.dissection.batches import ConceptBatch
from interpretable_sgd.analysis.dissection.pixel_counts import PixelCounts
from interpretable_sgd.analysis.dissection.thresholds import HighestValues

SECONDS = 60  # between two writes of a checkpoint

# batches from one number to another, the second not among them
Stream = Callable[[int, int], Iterator[ConceptBatch]]


class ProgressCheckpoint:
    """Which batches are done, which images were skipped, and what the passes hold.

    A batch that was done before is read once more when a run goes on, and must hold what it held:
    a checkpoint never stands for other images, masks or preprocessing.

    Args:
        path: of the checkpoint; None keeps none.
        owner: what the checkpoint must belong to.
        probe: what the model gives for the first batch, any shape; it must give the same again.
        total: number of batches of a pass.
        highest: what the first pass fills; goes on from the checkpoint.
        counts: what the second fills; likewise.

    Attributes:
        images: that the second pass has read.
        skipped: name and reason of those that could not be read.

    Raises:
        CheckpointError: the checkpoint belongs to something else; to other data: StaleCheckpointError.
    """

    def __init__(
        self,
        path: Path | None,
        owner: Mapping[str, Any],
        probe: Tensor,
        total: int,
        highest: HighestValues,
        counts: PixelCounts,
    ) -> None:
        self.images = 0
        self.skipped: dict[str, str] = {}
        self._done = 0
        self._digests: list[str] = []
        self._known = 0  # of these digests, those that a checkpoint had
        self._path, self._owner, self._probe, self._total = path, owner, probe, total
        self._highest, self._counts = highest, counts
        self._written = time.monotonic()
        state = checkpoints.load(path, owner)
        if state is not None:
            self._resume(state)

    def _resume(self, state: dict[str, Any]) -> None:
        room = 1e-2 * self._probe.abs().max()  # devices round differently
        if not ((state["probe"] - self._probe).abs() <= room).all():
            raise StaleCheckpointError(
                f"checkpoint {self._path} is of a model, images or preprocessing that give other maps"
            )
        self._done, self.images, self.skipped = state["done"], state["read"], state["skipped"]
        self._digests = state["digests"]
        self._known = len(self._digests)
        self._highest.load_state_dict(state["highest"])
        if "counts" in state:
            self._counts.load_state_dict(state["counts"])

    def first_pass(self, stream: Stream) -> Iterator[ConceptBatch]:
        """The batches of the first pass that are not done; each is done when the next is asked for."""
        again = self._done - self._total
        yield from self._walk(stream(0, self._total if again < 0 else again), 0)

    def second_pass(self, stream: Stream) -> Iterator[ConceptBatch]:
        """As the first, and counts the images."""
        yield from self._walk(stream(self._done - self._total, self._total), self._total)

    def _walk(self, batches: Iterator[ConceptBatch], before: int) -> Iterator[ConceptBatch]:
        started = self._done
        for batch in batches:
            self._verify(batch)
            if before + batch.number < self._done:
                continue
            if batch.indices:
                yield batch
            self.skipped.update(batch.skipped)
            self.images += len(batch.indices) if before else 0
            self._done += 1
            if time.monotonic() - self._written > SECONDS:
                self._write()
        if self._done > started:
            self._write()

    def _verify(self, batch: ConceptBatch) -> None:
        """Raise unless the batch holds what it held in the pass before."""
        digest = batch.digest()
        if batch.number == len(self._digests):
            self._digests.append(digest)
        if self._digests[batch.number] == digest:
            return
        if batch.number < self._known:
            raise StaleCheckpointError(
                f"checkpoint {self._path} is of other images, masks or preprocessing: those of batch "
                f"{batch.number} differ"
            )
        raise CheckpointError(
            "concepts must give the same images and masks in each pass, those of batch "
            f"{batch.number} differ"
        )

    def _write(self) -> None:
        if self._path is None:
            return
        state = {"done": self._done, "read": self.images, "skipped": self.skipped}
        state |= {"probe": self._probe, "digests": self._digests}
        state["highest"] = self._highest.state_dict()
        if self._done > self._total:
            state["counts"] = self._counts.state_dict()
        checkpoints.save({**self._owner, **state}, self._path)
        self._written = time.monotonic()

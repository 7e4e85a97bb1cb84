"""Images whose concepts are known, of whatever source, and the dissection of a net by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from interpretable_sgd import analysis
from interpretable_sgd.analysis.concepts import ConceptImages, ConceptSample, ConceptTable


@dataclass(frozen=True)
class Some:
    """So many samples of a concept data set, evenly spaced.

    Attributes:
        whole: the data set.
        count: at most so many.
    """

    whole: ConceptImages
    count: int

    @property
    def table(self) -> ConceptTable:
        """Names of the labels."""
        return self.whole.table

    def __len__(self) -> int:
        return min(self.count, len(self.whole))

    def __getitem__(self, index: int) -> ConceptSample:
        return self.whole[self._position(index)]

    def name(self, index: int) -> str:
        """Name of a sample, known without reading it."""
        return self.whole.name(self._position(index))

    def _position(self, index: int) -> int:
        return index * len(self.whole) // len(self)


@dataclass(frozen=True)
class Labeller:
    """What units of nets are labelled by.

    Attributes:
        concepts: labelled images.
        prepare: from their pictures to what the net is given.
        workers: processes that read them.
    """

    concepts: ConceptImages
    prepare: Callable[[Tensor], Tensor]
    workers: int = 0

    def label(self, model: nn.Module, layer: str) -> analysis.Dissection:
        """Labels of a layer's units."""
        return analysis.dissect(
            model,
            layer,
            self.concepts,
            permutations=0,
            prepare=self.prepare,
            workers=self.workers,
        )

"""Labels of units by images whose concepts are known, and their scores."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from interpretable_sgd import analysis
from interpretable_sgd.analysis.concepts import ConceptImages, ConceptSample, ConceptTable

BEST = 100  # units whose mean IoU the paper's Figure 5 (d) shows


@dataclass(frozen=True)
class EvenSubset:
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
class UnitLabeller:
    """What units of networks are labelled by.

    Attributes:
        concepts: labelled images.
        prepare: from their pictures to what the network is given.
        workers: processes that read them.
    """

    concepts: ConceptImages
    prepare: Callable[[Tensor], Tensor]
    workers: int = 0

    def label(self, model: nn.Module, layer: str | nn.Module) -> analysis.Dissection:
        """Labels of a layer's units."""
        return analysis.dissect(
            model, layer, self.concepts, permutations=0, prepare=self.prepare, workers=self.workers
        )


def unit_metrics(labels: analysis.Dissection) -> dict[str, Any]:
    """Scores of a layer's labels: the paper's Figure 5 (c, d), and Network Dissection's counts."""
    return {
        "mean_iou": labels.best.mean().item(),
        "top100_iou": labels.best.sort(descending=True).values[:BEST].mean().item(),
        "detectors": int(labels.detectors().sum()),
        "unique": labels.unique_detectors(),
        "convention": labels.image_set,
        "images": labels.images,
    }


def class_f1(weight: Tensor, labels: analysis.Dissection, composition: Tensor) -> float:
    """Mean over classes of the F1 of class -> concept, through the units that are detectors.

    Args:
        weight: of the head, (c, m).
        labels: of its units.
        composition: which concepts make up which class, (c, concepts), bool.
    """
    concepts = analysis.class_concepts(
        weight.cpu(), labels.label.clamp(min=0), labels.detectors(), composition.shape[1]
    )
    return analysis.agreement(concepts, composition).f1.mean().item()

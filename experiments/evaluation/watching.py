"""What is looked at after an epoch of training: accuracy, and how well units match concepts."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from experiments.evaluation.measures import test_accuracy
from experiments.evaluation.metrics import read
from experiments.models.classifiers import Classifier
from interpretable_sgd import analysis
from interpretable_sgd.analysis.concepts import ConceptImages

LOOKS = 5  # epochs at which units are compared with concepts


@dataclass
class Watch:
    """Sees a net after each epoch; epoch 0 is before the first step.

    Attributes:
        model: the net; left as it was.
        validation: images and labels.
        concepts: to dissect the units by, None where the data have no masks.
        epochs: of the whole training.
        accuracy: on the validation images after each epoch.
        iou_epochs: epochs at which units were dissected.
        mean_iou: mean over units of the best IoU there.
    """

    model: Classifier
    validation: tuple[Tensor, Tensor]
    concepts: ConceptImages | None
    epochs: int
    accuracy: list[float] = field(default_factory=list)
    iou_epochs: list[int] = field(default_factory=list)
    mean_iou: list[float] = field(default_factory=list)

    def look(self, epoch: int) -> None:
        """Measure after this epoch, 0 .. epochs."""
        images, labels = self.validation
        _, logits = read(self.model, analysis.find_head(self.model), images)
        self.accuracy.append(test_accuracy(logits, labels))
        if self.concepts is not None and epoch in looks(self.epochs):
            found = analysis.dissect(self.model, self.model.maps, self.concepts, permutations=0)
            self.iou_epochs.append(epoch)
            self.mean_iou.append(found.best.mean().item())


def looks(epochs: int) -> set[int]:
    """Few epochs, dense where most happens: 0, then a geometric series to the last.

    >>> sorted(looks(8)), sorted(looks(1))
    ([0, 1, 2, 4, 8], [0, 1])
    """
    return {0} | {round(epochs ** (i / (LOOKS - 2))) for i in range(LOOKS - 1)}

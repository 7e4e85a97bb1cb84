"""Images whose pixels are labelled with concepts: one table, one sample, and readers of what is on disk."""

from interpretable_sgd.analysis.concepts.arrays import ConceptArrays
from interpretable_sgd.analysis.concepts.broden import Broden
from interpretable_sgd.analysis.concepts.folders import MaskFolders
from interpretable_sgd.analysis.concepts.segmentation_sets import VOC, SegmentationSet
from interpretable_sgd.analysis.concepts.table import (
    Concept,
    ConceptError,
    ConceptImages,
    ConceptSample,
    ConceptTable,
    numbered,
)

__all__ = [
    "VOC",
    "Broden",
    "Concept",
    "ConceptArrays",
    "ConceptError",
    "ConceptImages",
    "ConceptSample",
    "ConceptTable",
    "MaskFolders",
    "SegmentationSet",
    "numbered",
]

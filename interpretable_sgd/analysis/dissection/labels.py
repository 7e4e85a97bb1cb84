"""The labels of one image as positions in the concept table, ready to be counted.

Index legend: ``l`` label, ``k`` category, ``q`` plane.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretable_sgd.analysis.concepts.table import ConceptError, ConceptSample, ConceptTable


@dataclass(frozen=True)
class Labels:
    """Sets of pixels L_l of one image.

    Args:
        size: (sh, sw).
        planes: label positions, (q, sh * sw), int16 or int32, -1 where unlabelled. A pixel holds a
            label at most once, whichever planes it was in: L_l is a set.
        whole: positions of the labels of all pixels, (w,); in no plane.
        area: number of pixels of each label, (l,).
        present: whether any label of a category is in the image, (k,), bool.
    """

    size: tuple[int, int]
    planes: NDArray[np.signedinteger]
    whole: NDArray[np.int64]
    area: NDArray[np.int64]
    present: NDArray[np.bool_]


def read_labels(sample: ConceptSample, table: ConceptTable) -> Labels:
    """Look the labels of a sample up in the table, and drop repetitions.

    Args:
        sample: its planes must have its size.
        table: of all labels.

    Raises:
        ConceptError: a plane has another size, or a label is not in the table.

    >>> import torch
    >>> from interpretable_sgd.analysis.concepts.table import numbered
    >>> sample = ConceptSample(torch.zeros(3, 4, 4), [np.eye(2, dtype=int), 2], (2, 2), "a")
    >>> read_labels(sample, numbered(["cat", "room"])).area
    array([2, 4])
    """
    entries = sample.labels
    planes = [np.asarray(entry) for entry in entries if np.ndim(entry)]
    for plane in planes:
        if plane.shape != sample.size:
            raise ConceptError(f"label planes must have shape {sample.size}, got {plane.shape}")
    numbers = np.array([entry for entry in entries if not np.ndim(entry)], dtype=np.int64)
    try:
        whole = np.unique(table.positions(numbers)).astype(np.int64)
        found = [table.positions(plane).ravel() for plane in planes]
    except ValueError as error:
        raise ConceptError(str(error)) from None
    whole = whole[whole >= 0]
    shape = len(found), sample.size[0] * sample.size[1]
    stacked: NDArray[np.signedinteger] = np.array(found, dtype=np.int32).reshape(shape)
    if len(table) < 2**15:
        stacked = stacked.astype(np.int16)
    _drop_repetitions(stacked, whole)
    stacked = stacked[stacked.max(1, initial=-1) >= 0]
    area = np.bincount(stacked.ravel() + 1, minlength=len(table) + 1)[1:]
    area[whole] += shape[1]
    present = np.zeros(len(table.categories), dtype=bool)
    present[table.category_index[area > 0]] = True
    return Labels(sample.size, stacked, whole, area, present)


def _drop_repetitions(planes: NDArray[np.signedinteger], whole: NDArray[np.int64]) -> None:
    for q, plane in enumerate(planes):
        for everywhere in whole:
            plane[plane == everywhere] = -1
        for before in planes[:q]:
            plane[plane == before] = -1

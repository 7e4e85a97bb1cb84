"""The classes and units that figures show, agreed between what stores their pictures and what draws them."""

import numpy as np

THRESHOLD = 1e-3  # of |w|, below which a connection counts as empty
TARGETS = 4  # classes, or channels of a routed convolution
SOURCES = 4  # units that each of them reads most
FAINT = 0.1  # of a target's largest weight, below which a connection is too weak to be drawn
STAGES = {"layer2": "inner:layer3.0", "layer3": "inner:layer4.0", "layer4": "weight"}


def spaced(count: int, most: int = TARGETS) -> np.ndarray:
    """Evenly spaced indices: a choice that has not looked at results.

    >>> spaced(10).tolist(), spaced(2).tolist()
    ([0, 2, 5, 7], [0, 1])
    """
    most = min(most, count)
    return np.arange(most) * count // most


def best(iou: np.ndarray, names: np.ndarray, weight: np.ndarray, most: int = TARGETS) -> np.ndarray:
    """Of each concept the output that fits it best, best first, among outputs that read anything at all.

    Args:
        iou: of each output's label, (outputs,).
        names: of the labels, (outputs,).
        weight: (outputs, units).

    >>> names, weight = np.array(["sky", "sea", "sky", "sky"]), np.array([[1.0], [1.0], [2.0], [0.0]])
    >>> best(np.array([0.1, 0.3, 0.2, 0.9]), names, weight).tolist()
    [1, 2]
    """
    reading = np.flatnonzero((weight >= THRESHOLD).any(1))
    ranked = reading[np.argsort(-iou[reading], kind="stable")]
    _, first = np.unique(names[ranked], return_index=True)
    return ranked[np.sort(first)][:most]


def strongest(row: np.ndarray, most: int = SOURCES) -> np.ndarray:
    """Units of the largest positive weights, strongest first; faint ones are not among them.

    >>> strongest(np.array([0.05, 2.0, -3.0, 0.5])).tolist(), strongest(np.zeros(3)).tolist()
    ([1, 3], [])
    """
    order = np.argsort(-row, kind="stable")[:most]
    return order[row[order] >= max(THRESHOLD, FAINT * float(row.max(initial=0)))]

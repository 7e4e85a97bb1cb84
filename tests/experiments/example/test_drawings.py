"""Drawings of places show the two things that make the place, and no other place."""

import numpy as np
import torch

from experiments.example.drawings import PLACES, THINGS, drawn


def test_the_same_drawings_again() -> None:
    """No thing of a place's own is hidden, and no other place is drawn by chance."""
    first, second = (drawn(60, np.random.default_rng(7)) for _ in range(2))
    assert (first.images == second.images).all()
    names, pairs = list(THINGS), list(PLACES.values())
    for label, things in zip(first.labels, first.things, strict=True):
        seen = {names[k - 1] for k in np.unique(things) if k}
        assert set(pairs[label]) <= seen
        assert sum(set(pair) <= seen for pair in pairs) == 1
    assert torch.from_numpy(first.labels).bincount().unique().tolist() == [6]

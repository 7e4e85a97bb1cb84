"""Compositions and distractors against literal definitions."""

import numpy as np
import pytest

from experiments.datasets.synthetic.compositions import draw_composition, draw_distractors


def sets(rows):
    return [frozenset(np.flatnonzero(row).tolist()) for row in rows]


@pytest.mark.parametrize(("classes", "concepts"), [(2, 6), (24, 16), (100, 24), (365, 40)])
@pytest.mark.parametrize("parts", [(2,), (2, 3), (3,), (2, 3, 4)])
def test_sets_have_the_sizes_asked_for_and_none_contains_another(classes, concepts, parts):
    drawn = sets(draw_composition(classes, concepts, parts, np.random.default_rng(0)))
    assert len(set(drawn)) == classes
    assert {len(members) for members in drawn} <= set(parts)
    assert not any(a < b for a in drawn for b in drawn)


def test_all_pairs_can_be_asked_for_and_no_more():
    rows = draw_composition(66, 12, (2,), np.random.default_rng(0))
    assert len(set(sets(rows))) == 66
    with pytest.raises(ValueError, match="classes must be at most 66 when concepts is 12, got 67"):
        draw_composition(67, 12, (2,), np.random.default_rng(0))


def test_distractors_are_added_exactly_while_one_is_allowed():
    generator = np.random.default_rng(1)
    composition = draw_composition(20, 12, (2, 3), generator)
    labels = generator.integers(20, size=200)
    counts = generator.integers(7, size=200)
    keys = generator.random((200, 12), dtype=np.float32)
    drawn = sets(draw_distractors(composition, labels, counts, keys))
    classes = sets(composition)
    for label, count, key, extra in zip(labels, counts, keys, drawn, strict=True):
        shown = set(classes[label])
        for _ in range(count):
            free = [
                k
                for k in set(range(12)) - shown
                if not any(row <= shown | {k} for i, row in enumerate(classes) if i != label)
            ]
            shown |= set(sorted(free, key=lambda k: -key[k])[:1])
        assert extra == shown - classes[label]

"""Glyphs: what is drawn, where, and arguments of their own."""

import pytest
import torch

from experiments.datasets.synthetic.glyphs import Glyphs


@pytest.mark.parametrize("size", [18, 24, 47, 48, 100])
def test_masks_are_the_patterns_somewhere(size):
    glyphs = Glyphs(size=size, distractors=3)
    scale = max(1, size // 24)
    masks, shown = glyphs.masks("test", 80), glyphs.shown("test", 80)
    patterns = torch.from_numpy(glyphs.patterns)
    for image, concept in shown.nonzero().tolist():
        rows, columns = masks[image, concept].nonzero().T
        window = masks[
            image,
            concept,
            rows.min() : rows.max() + 1,
            columns.min() : columns.max() + 1,
        ]
        strokes = patterns[concept].nonzero()
        low, high = strokes.min(0).values, strokes.max(0).values + 1
        tight = patterns[concept, low[0] : high[0], low[1] : high[1]]
        assert torch.equal(window, tight.repeat_interleave(scale, 0).repeat_interleave(scale, 1))


def test_without_noise_exactly_the_masks_are_bright():
    glyphs = Glyphs(noise=0.0, distractors=4)
    images, _ = glyphs.tensors("train", 100)
    bright = glyphs.masks("train", 100).any(1)
    assert torch.equal(images[:, 0] > 0, bright)
    strokes = images[:, 0][bright]
    assert strokes.min() >= 2 / 3 - 1e-6 and strokes.max() <= 4 / 3 + 1e-6


def test_noise_has_the_standard_deviation_asked_for():
    glyphs = Glyphs(noise=0.5)
    images, _ = glyphs.tensors("train", 200)
    ground = images[:, 0][~glyphs.masks("train", 200).any(1)]
    error = 0.5 / (2 * len(ground)) ** 0.5
    assert abs(ground.std() - 0.5) < 4 * error


def test_glyphs_appear_everywhere():
    seen = Glyphs().masks("train", 600).any(1).any(0)
    assert seen.all()


def test_patterns_are_distinct_with_twelve_strokes():
    patterns = torch.from_numpy(Glyphs(concepts=256, classes=20).patterns).flatten(1)
    assert (patterns.sum(1) == 12).all()
    assert len(patterns.unique(dim=0)) == 256


def test_more_distractors_than_places_are_refused():
    message = "distractors must be an integer between 0 and 14, got 15"
    with pytest.raises(ValueError, match=message):
        Glyphs(distractors=15)

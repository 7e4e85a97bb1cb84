"""Words of units against a literal loop, their null against its level, and against labels by masks."""

import math

import pytest
import torch
from numpy import asarray

from interpretable_sgd.analysis import dissect, name_units, study
from interpretable_sgd.analysis.concepts import ConceptArrays
from tests.analysis.known_truth import COLOURS, images, known_study, network

WORDS = ("sky", "grass", "dog", "car")


def drawn(count=60, units=5, seed=0, dimensions=8):
    """Units and embeddings that know nothing of one another."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (count, units), (count, dimensions), (len(WORDS), dimensions)
    return [torch.randn(*shape, generator=generator) for shape in shapes]


def test_likeness_is_that_of_a_literal_loop():
    units, pictures, texts = drawn()
    found = name_units(units, pictures, texts, WORDS, permutations=19)
    for m in range(units.shape[1]):
        likeness = []
        for text in texts:
            cosine = [
                float(e @ text) / math.sqrt(float(e @ e) * float(text @ text)) for e in pictures
            ]
            likeness.append(
                float(torch.corrcoef(torch.stack([units[:, m], torch.tensor(cosine)]))[0, 1])
            )
        best = max(likeness)
        assert float(found.likeness[m]) == pytest.approx(best, abs=1e-5)
        assert found.word_of(m) == WORDS[likeness.index(best)]


def test_units_that_know_nothing_are_significant_as_often_as_the_level_says():
    """20 draws of 100 units: the share is 5 %, within four standard errors of the draws."""
    shares, sizes = [], []
    for seed in range(20):
        found = name_units(*drawn(80, 100, seed), WORDS, permutations=39, seed=seed)
        shares.append(float(found.significant().double().mean()))
        sizes.append(float(found.p_value.mean()))
    spread = torch.tensor(shares)
    error = float(spread.std()) / len(shares) ** 0.5
    assert error < 0.01
    assert sum(shares) / 20 == pytest.approx(0.05, abs=4 * error)
    # p-values of 1/40, ..., 1 have the mean 41/80
    assert sum(sizes) / 20 == pytest.approx(41 / 80, abs=0.03)


def test_neither_scale_nor_order_nor_kind_of_array_changes_a_name():
    units, pictures, texts = drawn(200)
    units = units + 3 * (pictures @ texts.T)[:, [0, 3, 2, 1, 0]]
    plain = name_units(units, pictures, texts, WORDS)
    scaled = name_units(asarray(7 * units + 3), asarray(2 * pictures), asarray(9 * texts), WORDS)
    assert plain.significant().all() and plain.titles == scaled.titles
    order = torch.tensor([2, 0, 3, 1])
    moved = name_units(units, pictures, texts[order], [WORDS[k] for k in order])
    assert moved.titles == plain.titles


def test_a_unit_that_never_changes_has_no_word():
    units, pictures, texts = drawn()
    units[:, 2] = 0.3
    found = name_units(units, pictures, texts, WORDS)
    assert found.word_of(2) is None and found.p_value[2] == 1 and found.titles[2] == "unit 2"


def test_maps_count_by_their_highest_value():
    _, pictures, texts = drawn()
    maps = torch.rand(60, 5, 3, 4)
    whole, highest = (name_units(x, pictures, texts, WORDS) for x in (maps, maps.amax((2, 3))))
    assert torch.equal(whole.likeness, highest.likeness) and torch.equal(whole.null, highest.null)


def test_names_by_the_user_win():
    units, pictures, texts = drawn()
    found = name_units(units, pictures, texts, WORDS, unit_names={1: "whiskers"})
    assert found.titles[1] == "whiskers" and found.word_of(1) in WORDS


def embedded(seed=0):
    """What the known images show, as embeddings: a dimension for each colour."""
    pixels, labels, masks = images(seed)
    return pixels, labels, masks, masks.flatten(2).any(2).float()


def test_words_are_the_labels_that_masks_give():
    """Three units, 60 images; on trained scenes: docs/how-to/name-units.md."""
    pixels, _, masks, shown = embedded()
    concepts = ConceptArrays.of_masks(pixels, masks, names=COLOURS)
    by_masks = dissect(network(), "1", concepts, permutations=19)
    by_words = name_units(pixels, shown, torch.eye(3), COLOURS)
    assert by_words.significant().all()
    assert by_words.titles == tuple(by_masks.concept_of(m) for m in range(3))


def test_a_study_takes_words_and_the_user_s_names_win_over_them():
    pixels, _, _, shown = embedded()
    found = name_units(pixels.mean((2, 3)), shown, torch.eye(3), COLOURS, unit_names={0: "rot"})
    batches = [images()[:2]]
    read = study(network(), batches, named=found)
    assert [unit.title for unit in read.units] == ["rot", "green", "blue"]
    assert [unit.label for unit in read.units] == list(COLOURS)
    assert "green" in read.classes[0].formula and read.classes[0].labels == 2
    assert read.tables["units"].column("likeness") == pytest.approx(found.likeness.tolist())
    ours = study(network(), batches, named=found, unit_names=["a", "b", "c"])
    assert [unit.title for unit in ours.units] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="named must be None where concepts name the units"):
        known_study(named=found)
    other = name_units(*drawn(), WORDS)
    with pytest.raises(ValueError, match="named must be of 3 units, got 5"):
        study(network(), batches, named=other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": torch.rand(60)}, r"units must be a matrix, got shape \(60,\)"),
        ({"units": torch.full((60, 2), torch.nan)}, "units must be finite"),
        ({"image_embeddings": torch.rand(59, 8)}, "must be of the 60 images, got 59"),
        ({"text_embeddings": torch.rand(4, 7)}, "the 8 dimensions of the images', got 7"),
        ({"words": ["sky"]}, "words must be 4 names, got 1"),
        ({"permutations": 18}, "permutations must be at least 19 to reach level 0.05, got 18"),
        ({"unit_names": {5: "tail"}}, r"unit_names must be of units 0 .. 4, got 5"),
    ],
)
def test_bad_arguments(changes, message):
    units, pictures, texts = drawn()
    arguments = {"units": units, "image_embeddings": pictures, "text_embeddings": texts}
    with pytest.raises(ValueError, match=message):
        name_units(**{**arguments, "words": WORDS, **changes})

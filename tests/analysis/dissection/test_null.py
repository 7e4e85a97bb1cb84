"""Chance labels a unit as often as the level says, and a unit that shows its concept beats chance."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from interpretable_sgd.analysis.concepts import ConceptArrays
from interpretable_sgd.analysis.dissection.dissect import dissect
from interpretable_sgd.analysis.dissection.null import null_quantile, p_values, random_basis


def blobs(n: int, channels: int, side: int = 12) -> torch.Tensor:
    """Smooth random maps, as units' maps and concepts' masks are."""
    return functional.interpolate(torch.randn(n, channels, 4, 4), (side, side), mode="bicubic")


@pytest.mark.parametrize("level", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("permutations", [19, 39, 99])
def test_above_the_quantile_is_a_small_p_value(level, permutations):
    null = torch.rand(permutations, 400, dtype=torch.float64)
    best = torch.rand(400, dtype=torch.float64)
    above = best > null_quantile(null, level)
    assert torch.equal(above, p_values(best, null) <= level + 1e-12)


def test_labels_of_other_images_are_significant_as_often_as_the_level_says():
    """40 data sets of 24 images, whose 40 units know nothing of the 5 concepts: 1600 p-values.

    Units of one data set share labels and permutations; the error is over data sets, n = 40.
    """
    shares = []
    for seed in range(40):
        images, masks = blobs(24, 40), blobs(24, 5) > 1
        concepts = ConceptArrays.of_masks(images, masks, names="abcde")
        found = dissect(nn.Identity(), "", concepts, quantile=0.1, batch=24, seed=seed)
        shares.append(found.significant().double().mean())
    share = torch.stack(shares)
    error = share.std() / len(share) ** 0.5
    assert error < 0.02
    assert abs(share.mean() - 0.05) < 3 * error, (share.mean(), error)


def test_units_that_are_concepts_beat_chance_and_their_rotation_does_not():
    masks = blobs(64, 8) > 1.2
    concepts = ConceptArrays.of_masks(masks.float(), masks, names="abcdefgh")
    found = dissect(nn.Identity(), "", concepts, quantile=0.3)
    assert found.significant().all()
    assert (found.p_value == 1 / 20).all()
    basis = random_basis(8, torch.Generator().manual_seed(0))
    rotated = dissect(nn.Identity(), "", concepts, quantile=0.1, basis=basis)
    assert rotated.best.max() < 0.9 < found.best.min()


def test_p_values_count_the_observed_pairing():
    best, null = torch.tensor([0.3]), torch.tensor([[0.1], [0.3], [0.5]])
    assert p_values(best, null).item() == 3 / 4


@pytest.mark.parametrize(
    ("permutations", "level", "message"),
    [
        (18, 0.05, r"permutations must be at least 19 to reach level 0.05, got 18"),
        (98, 0.01, r"permutations must be at least 99 to reach level 0.01, got 98"),
        (0, 0.05, r"permutations must be at least 1 for a null, got 0"),
        (19, 0.0, r"level must be between 0 and 1, got 0.0"),
    ],
)
def test_levels_out_of_reach(permutations, level, message):
    with pytest.raises(ValueError, match=message):
        null_quantile(torch.zeros(permutations, 3), level)

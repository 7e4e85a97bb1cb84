"""Counts equal the literal ones, pixel for pixel, whichever implementation counts."""

import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from interpretable_sgd.analysis.concepts import Concept, ConceptSample, ConceptTable
from interpretable_sgd.analysis.dissection import counting
from interpretable_sgd.analysis.dissection.labels import read_labels
from interpretable_sgd.analysis.dissection.pixel_counts import PixelCounts
from tests.analysis.dissection import literal

TABLE = ConceptTable(
    (
        Concept(3, "red", "color"),
        Concept(1, "cat", "object"),
        Concept(300, "ear", "part"),
        Concept(7, "kitchen-s", "scene"),
        Concept(9, "tail", "part"),
        Concept(2, "blue", "color"),
    )
)


@pytest.fixture(params=["compiled", "tensors"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compiled":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(counting, "_compiled", lambda: None)
    return request.param


def random_sample(rng: np.random.Generator, size: tuple[int, int]) -> ConceptSample:
    """Several planes, whole-image labels, empty planes, repeated and missing labels."""
    numbers = np.array([0, *(concept.number for concept in TABLE.concepts)])
    planes = [
        numbers[rng.choice(len(numbers), size, p=[0.4, *[0.1] * 6])]
        for _ in range(rng.integers(0, 4))
    ]
    whole = [int(n) for n in numbers[rng.random(len(numbers)) < 0.15]]
    empty = [np.zeros(size, dtype=np.uint8)] * int(rng.integers(0, 2))
    return ConceptSample(torch.zeros(3, 2, 2), [*planes, *whole, *empty], size, "")


def dyadic(rng: np.random.Generator, *shape: int) -> Tensor:
    """Multiples of 1/4, which interpolation by powers of two leaves exact: every library agrees."""
    return torch.from_numpy(rng.integers(-8, 9, shape)).float() / 4


def counted(
    maps: Tensor, thresholds: Tensor, samples: list[ConceptSample], pairings: Tensor
) -> PixelCounts:
    labels = [read_labels(sample, TABLE) for sample in samples]
    tally = PixelCounts.zeros(len(pairings), maps.shape[1], TABLE)
    counting.count(tally, maps, thresholds, labels, pairings)
    tally.add_areas(labels)
    return tally


def assert_equal(tally: PixelCounts, pairing: int, expected: literal.Counts) -> None:
    for name in ("intersection", "category", "touched"):
        got, wanted = getattr(tally, name)[pairing], getattr(expected, name)
        assert torch.equal(got, wanted), (name, (got != wanted).nonzero()[:5], got, wanted)
    assert torch.equal(tally.label_area, expected.label_area)


@pytest.mark.parametrize("sizes", [[(8, 8)], [(16, 4)], [(8, 16), (4, 4), (32, 8)]])
@pytest.mark.parametrize("seed", range(4))
def test_counts_equal_the_literal_tally(
    implementation: str, sizes: list[tuple[int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    samples = [random_sample(rng, sizes[i % len(sizes)]) for i in range(7)]
    maps = dyadic(rng, 7, 5, 4, 4)
    # thresholds that values meet exactly, one below everything and one above
    thresholds = torch.tensor([0.0, 1.0, 1.75, -3.0, 2.0])
    tally = counted(maps, thresholds, samples, torch.arange(7)[None])
    assert tally.intersection.sum() > 0
    assert_equal(tally, 0, literal.counts(maps, thresholds, samples, TABLE))


def test_permuted_pairings_count_the_labels_of_others(implementation: str) -> None:
    rng = np.random.default_rng(5)
    samples = [random_sample(rng, [(8, 8), (16, 4)][i % 2]) for i in range(6)]
    maps, thresholds = dyadic(rng, 6, 4, 2, 2), torch.full((4,), 0.5)
    pairings = torch.stack([torch.arange(6), torch.randperm(6), torch.randperm(6)])
    tally = counted(maps, thresholds, samples, pairings)
    for p, pairing in enumerate(pairings.tolist()):
        others = [samples[j] for j in pairing]
        assert_equal(tally, p, literal.counts(maps, thresholds, others, TABLE))


@pytest.mark.parametrize(
    ("source", "size"),
    [((7, 7), (112, 112)), ((14, 9), (30, 47)), ((9, 9), (4, 5)), ((1, 1), (6, 6))],
)
def test_implementations_agree_to_the_last_bit(
    source: tuple[int, int], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On any values, and on thresholds that interpolated values meet exactly."""
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    maps = torch.from_numpy(rng.normal(size=(6, 40, *source))).float()
    maps[:, 20:] = maps[:, 20:].clamp(min=0)
    thresholds = maps.movedim(1, 0).flatten(1).quantile(0.97, dim=1)
    # a map that is flat at its threshold: nothing exceeds it, however it is interpolated
    maps[0] = thresholds[:, None, None]
    samples = [random_sample(rng, size) for _ in range(6)]
    pairings = torch.stack([torch.arange(6), torch.randperm(6)])
    loops = counted(maps, thresholds, samples, pairings)
    monkeypatch.setattr(counting, "_compiled", lambda: None)
    tensors = counted(maps, thresholds, samples, pairings)
    for name, value in loops.state_dict().items():
        assert torch.equal(value, tensors.state_dict()[name]), name
    assert loops.intersection.sum() > 0


def test_blocks_add_up(implementation: str) -> None:
    rng = np.random.default_rng(2)
    samples = [random_sample(rng, (8, 8)) for _ in range(6)]
    maps, thresholds = dyadic(rng, 6, 3, 4, 4), torch.zeros(3)
    whole = counted(maps, thresholds, samples, torch.arange(6)[None])
    parts = PixelCounts.zeros(1, 3, TABLE)
    for cut in (slice(0, 2), slice(2, 6)):
        labels = [read_labels(sample, TABLE) for sample in samples[cut]]
        counting.count(parts, maps[cut], thresholds, labels, torch.arange(len(labels))[None])
        parts.add_areas(labels)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_the_largest_published_layer_and_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """2048 units, 1197 concepts in 6 categories, 6 planes: what must add up."""
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    kinds = ["color", "object", "part", "material", "scene", "texture"]
    table = ConceptTable(
        tuple(Concept(number, str(number), kinds[number % 6]) for number in range(1, 1198))
    )
    samples = []
    for _ in range(2):
        blocks = rng.integers(0, 1198, (6, 14, 14)).repeat(8, 1).repeat(8, 2)
        samples.append(ConceptSample(torch.zeros(3, 2, 2), list(blocks), (112, 112), ""))
    labels = [read_labels(sample, table) for sample in samples]
    maps = torch.from_numpy(rng.normal(size=(2, 2048, 7, 7))).float()
    thresholds = torch.full((2048,), 2.5)
    tallies = [PixelCounts.zeros(1, units, table) for units in (2048, 64)]
    counting.count(tallies[0], maps, thresholds, labels, torch.arange(2)[None])
    monkeypatch.setattr(counting, "_compiled", lambda: None)
    counting.count(tallies[1], maps[:, :64], thresholds[:64], labels, torch.arange(2)[None])
    assert torch.equal(tallies[0].intersection[:, :64], tallies[1].intersection)
    assert torch.equal(tallies[0].touched[:, :64], tallies[1].touched)
    tallies[0].add_areas(labels)
    assert tallies[0].intersection.amax((0, 1)).le(tallies[0].label_area).all()
    # six planes of unlike labels, some unlabelled: nearly six labels a pixel
    area, both = tallies[0].category[0, :, 0], tallies[0].intersection[0].sum(1)
    assert 5.9 * area.sum() < both.sum() < 6 * area.sum()


def test_sums_go_on_beyond_32_bits(implementation: str) -> None:
    labels = [read_labels(ConceptSample(torch.zeros(3, 2, 2), [3], (8, 8), ""), TABLE)]
    tally = PixelCounts.zeros(1, 1, TABLE)
    for name in ("intersection", "category", "touched"):
        getattr(tally, name).fill_(2**31 - 1)
    counting.count(tally, torch.ones(1, 1, 1, 1), torch.zeros(1), labels, torch.zeros(1, 1).long())
    assert tally.intersection[0, 0, 0] == tally.touched[0, 0, 0] == 2**31 + 63


def test_without_numba_it_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    counting._compiled.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert counting._compiled() is None
            assert counting._compiled() is None
        assert caplog.text.count("numba is not installed: dissection counts with plain torch") == 1
    finally:
        counting._compiled.cache_clear()

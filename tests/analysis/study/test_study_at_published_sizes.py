"""The largest inputs that were published, at once: 2048 units, 1197 concepts, 365 classes."""

import numpy as np
import pytest
import torch
from torch import nn

from experiments.bench.broden_like import LABELS, SIDE, Samples
from interpretable_sgd import analysis, report
from interpretable_sgd.analysis.dissection import upsample

pytestmark = pytest.mark.slow
UNITS, CLASSES, IMAGES = 2048, 365, 64


@pytest.fixture(scope="module")
def study():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = (nn.Conv2d(16, UNITS, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model = nn.Sequential(*body, nn.Linear(UNITS, CLASSES))
    images = torch.stack([Samples(IMAGES)[n].image for n in range(IMAGES)])
    labels = torch.arange(IMAGES) % CLASSES
    return model, analysis.study(
        model,
        list(zip(images.split(32), labels.split(32), strict=True)),
        concepts=Samples(IMAGES),
        picture=lambda image: image[:3].sigmoid(),
        permutations=19,
        explained=2,
    )


def test_counts_of_a_few_units_are_the_plain_ones(study):
    model, found = study
    dissection = found.dissection
    assert dissection.intersection.shape == (UNITS, LABELS) and dissection.images == IMAGES
    units = [0, 1000, UNITS - 1]
    samples = [Samples(IMAGES)[n] for n in range(IMAGES)]
    with torch.no_grad():
        maps = model[:2](torch.stack([sample.image for sample in samples]))[:, units]
    masks = upsample(maps, (SIDE, SIDE)) > dissection.thresholds[units, None, None]
    expected = np.zeros((len(units), LABELS + 1), dtype=np.int64)
    for sample, own in zip(samples, masks.numpy(), strict=True):
        for entry in sample.labels:
            plane = np.broadcast_to(entry, (SIDE, SIDE))
            for j, mask in enumerate(own):
                expected[j] += np.bincount(plane[mask], minlength=LABELS + 1)
    np.testing.assert_array_equal(dissection.intersection[units].numpy(), expected[:, 1:])


def test_every_class_and_unit_is_on_the_page(study, tmp_path):
    _, found = study
    page = report.write(found, tmp_path / "report.html")
    text = page.read_text()
    assert text.count('<details class="card"') == CLASSES
    assert all(f'data-search="unit {unit} ' in text for unit in (0, UNITS - 1))
    assert page.stat().st_size < 20e6 * CLASSES / 100

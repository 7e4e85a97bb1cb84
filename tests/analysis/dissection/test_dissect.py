"""Dissection from end to end, on networks whose units are known to be concepts."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from experiments.datasets.concepts import GeneratedConcepts
from experiments.datasets.synthetic.scenes import Scenes
from interpretable_sgd.analysis.concepts import (
    Broden,
    Concept,
    ConceptArrays,
    ConceptError,
    ConceptTable,
    numbered,
)
from interpretable_sgd.analysis.dissection import progress
from interpretable_sgd.analysis.dissection.dissect import dissect
from interpretable_sgd.analysis.dissection.labels import read_labels
from tests.analysis.concepts.files import write_broden
from tests.analysis.dissection import literal


def masks_of(n: int = 30, concepts: int = 4, side: int = 8) -> torch.Tensor:
    return torch.rand(n, concepts, side, side) < 0.1


def concept_images(masks: torch.Tensor) -> ConceptArrays:
    """Images whose channels are the concepts."""
    return ConceptArrays.of_masks(masks.float(), masks, names="abcdefgh"[: masks.shape[1]])


class Net(nn.Module):
    """Layers that reading must leave alone, and an in-place ReLU behind the dissected one."""

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, units, 3, padding=1)
        self.norm = nn.BatchNorm2d(units)
        self.fire = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = getattr(self, "seen", 0) + len(x)
        return self.fire(self.norm(self.maps(x)))


def test_units_that_are_concepts_have_iou_one():
    masks = masks_of()
    order = torch.tensor([2, 0, 3, 1])
    model = nn.Conv2d(4, 4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(4)[order][:, :, None, None])
    found = dissect(model, "", concept_images(masks), quantile=0.2)
    assert found.best.tolist() == [1, 1, 1, 1]
    assert torch.equal(found.label, order)
    assert found.unique_detectors() == 4 and found.unlabelled_mass(torch.ones(4)) == 0
    assert torch.equal(found.label_area, masks.sum((0, 2, 3)))
    assert found.images == 30 and found.skipped == () and found.rank_error == 0


def test_units_that_are_the_concepts_of_scenes():
    """Sixteen units that fire where their concept is painted; the scenes say where that is."""
    concepts = GeneratedConcepts(Scenes(), "test", 96)
    planes = np.stack([concepts[i].labels[0] for i in range(96)])
    shown = torch.from_numpy(planes[:, None] == np.arange(1, 17)[:, None, None])
    oracle = ConceptArrays(
        shown.float(), torch.from_numpy(planes)[:, None], numbered(concepts.table.names)
    )
    found = dissect(nn.Identity(), "", oracle, quantile=0.2)
    assert found.best.tolist() == [1] * 16
    assert [found.concept_of(u) for u in range(16)] == concepts.table.names
    assert found.significant().all()


def test_counts_equal_the_literal_tally():
    torch.manual_seed(3)
    table = ConceptTable(
        (Concept(5, "a", "object"), Concept(2, "b", "part"), Concept(9, "c", "part"))
    )
    planes = torch.tensor([0, 0, 5, 2, 9])[torch.randint(0, 5, (9, 2, 8, 8))]
    images = torch.randint(-8, 9, (9, 5, 4, 4)).float() / 4
    concepts = ConceptArrays(images, planes, table)
    found = dissect(nn.Identity(), "", concepts, quantile=0.1, batch=4, permutations=0)
    samples = [concepts[i] for i in range(9)]
    expected = literal.counts(images, found.thresholds, samples, table)
    assert torch.equal(found.intersection, expected.intersection)
    assert torch.equal(found.unit_area["category"], expected.category)
    assert torch.equal(found.unit_area["touched"], expected.touched)
    assert torch.equal(found.label_area, expected.label_area)


def test_conventions_differ_where_a_mask_misses_its_category():
    """The unit fires on the label in image 0 and off it in image 1; image 2 shows no such label."""
    masks = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    masks[:2, 0, 0, 0] = True
    images = torch.zeros(3, 1, 4, 4)
    images[0, 0, 0, 0] = images[1, 0, 3, 3] = images[2, 0, 1, 1] = 1
    concepts = ConceptArrays.of_masks(images, masks, names=["a"])
    found = dissect(nn.Identity(), "", concepts, quantile=0.2, permutations=0)
    assert found.unit_area["category"].item() == 2 and found.unit_area["touched"].item() == 1
    assert found.iou["category"].item() == 1 / 3 and found.iou["touched"].item() == 1 / 2


def test_touching_never_lowers_an_iou():
    concepts = concept_images(masks_of())
    found = dissect(Net(4, 12), "maps", concepts, quantile=0.05, permutations=0)
    assert (found.iou["touched"] >= found.iou["category"]).all()
    assert (found.iou["touched"] > found.iou["category"]).any()


def test_batches_workers_and_the_device_change_nothing():
    concepts = concept_images(masks_of())
    model = Net(4, 6)
    one = dissect(model, model.maps, concepts, batch=30, permutations=0)
    other = dissect(model, "maps", concepts, batch=7, permutations=0, workers=2, device="cpu")
    torch.testing.assert_close(one.thresholds, other.thresholds)
    assert torch.equal(one.intersection, other.intersection)
    assert one.layer == other.layer == "maps"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_counts():
    concepts = concept_images(masks_of())
    model = nn.Conv2d(4, 4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(4)[:, :, None, None])
    here, there = (dissect(model, "", concepts, device=device) for device in ("cpu", "cuda"))
    assert torch.equal(here.intersection, there.intersection)
    assert torch.equal(here.null, there.null)
    assert model.weight.device.type == "cpu"


def test_repeats_with_its_seed_and_not_with_another():
    concepts, model = concept_images(masks_of()), Net(4, 6)
    nulls = [dissect(model, "maps", concepts, seed=seed, batch=8).null for seed in (1, 1, 2)]
    assert torch.equal(nulls[0], nulls[1]) and not torch.equal(nulls[0], nulls[2])
    assert nulls[0].shape == (19, 6)


def test_model_and_random_state_are_left_as_they_were():
    model = Net(4, 6)
    model.norm.eval()
    model.fire.train()
    before = copy.deepcopy(model.state_dict())
    concepts = concept_images(masks_of())
    drawn = torch.get_rng_state()
    dissect(model, "maps", concepts, permutations=20)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert model.training and model.fire.training and not model.norm.training
    assert not any(len(module._forward_hooks) for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(p.grad is None for p in model.parameters())


def test_an_in_place_layer_behind_does_not_reach_the_maps():
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    masks = masks_of(concepts=1)
    concepts = ConceptArrays.of_masks(-masks.float(), ~masks, names=["a"])
    found = dissect(model, "0", concepts, quantile=0.2, permutations=0)
    assert found.thresholds.item() == 0 and found.best.item() == 0


def test_a_vector_of_units_is_a_map_of_one_position():
    """Units that know of a whole image: here, whether its corner is lit."""
    lit = torch.arange(40) % 4 == 0
    images = torch.zeros(40, 1, 4, 4)
    images[lit] = 1
    masks = lit[:, None, None, None].expand(40, 1, 4, 4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(16)[[0, 5]])
        model[1].bias.zero_()
    found = dissect(model, "1", ConceptArrays.of_masks(images, masks, names=["lit"]), quantile=0.3)
    assert found.best.tolist() == [1, 1]


class Cut(Exception):
    pass


@pytest.mark.parametrize("blocks", [1, 3, 4, 6, 7])
def test_goes_on_where_it_was_cut_off(tmp_path, monkeypatch, blocks):
    """Four blocks a pass; cut in the first, between the passes, and in the second."""
    monkeypatch.setattr(progress, "SECONDS", -1)
    concepts, model, path = concept_images(masks_of()), Net(4, 6), tmp_path / "deep/dissection.pt"
    whole = dissect(model, "maps", concepts, batch=8)
    done = []

    def cut(images: int) -> None:
        done.append(images)
        if len(done) > blocks:
            raise Cut

    with pytest.raises(Cut):
        dissect(model, "maps", concepts, batch=8, checkpoint=path, report=cut)
    model.seen, done = 0, []
    again = dissect(model, "maps", concepts, batch=8, checkpoint=path, report=done.append)
    assert torch.equal(again.intersection, whole.intersection)
    assert torch.equal(again.null, whole.null) and torch.equal(again.thresholds, whole.thresholds)
    assert again.images == whole.images
    # one batch tells the shape of the maps; of the others, only those not done run again
    assert len(done) == 8 - blocks and done[-1] == 60
    assert model.seen <= 8 * (9 - blocks)


@pytest.mark.parametrize("blocks", [1, 4, 6])
@pytest.mark.parametrize("change", ["one image", "one mask", "prepare", "order"])
def test_a_checkpoint_of_other_data_is_set_aside_and_the_numbers_are_of_the_data_given(
    tmp_path, monkeypatch, blocks, change
):
    """A single pixel of a batch that was done long ago is noticed, whenever the run was cut off."""
    monkeypatch.setattr(progress, "SECONDS", -1)
    masks, model, path = masks_of(), Net(4, 6), tmp_path / "dissection.pt"
    images, prepare = masks.float(), None
    done = []

    def cut(seen: int) -> None:
        done.append(seen)
        if len(done) > blocks:
            raise Cut

    with pytest.raises(Cut):
        concepts = ConceptArrays.of_masks(images, masks, names="abcd")
        dissect(model, "maps", concepts, batch=8, checkpoint=path, report=cut)
    first = int(np.random.default_rng(0).permutation(30)[0])  # in the first batch
    images, masks = images.clone(), masks.clone()
    if change == "one image":
        images[first, 0, 0, 0] += 1e-3
    elif change == "one mask":
        masks[first, 0, 0, 0] ^= True
    elif change == "order":
        images, masks = images.roll(1, 0), masks.roll(1, 0)
    else:
        prepare = torch.sqrt
        images[first, 1, 1, 1] = 0.5
    concepts = ConceptArrays.of_masks(images, masks, names="abcd")
    options = {"batch": 8, "prepare": prepare}
    with pytest.warns(UserWarning, match=r"other images, masks or preprocessing|give other maps"):
        again = dissect(model, "maps", concepts, checkpoint=path, **options)
    whole = dissect(model, "maps", concepts, **options)
    assert torch.equal(again.intersection, whole.intersection)
    assert torch.equal(again.thresholds, whole.thresholds)
    assert torch.equal(again.null, whole.null)
    assert (tmp_path / "dissection.pt.other").exists()


def test_concepts_that_change_from_pass_to_pass_are_refused():
    class Drawn(ConceptArrays):
        def __getitem__(self, index):
            self.images = self.images + 1
            return super().__getitem__(index)

    masks = masks_of()
    concepts = Drawn.of_masks(masks.float(), masks, names="abcd")
    with pytest.raises(ValueError, match="must give the same images and masks in each pass, those"):
        dissect(Net(4, 6), "maps", concepts)


def test_a_checkpoint_of_something_else(tmp_path):
    concepts, path = concept_images(masks_of()), tmp_path / "dissection.pt"
    model = Net(4, 6)
    dissect(model, "maps", concepts, checkpoint=path, permutations=0)
    with pytest.raises(ValueError, match=r"checkpoint .* must be of settings"):
        dissect(model, "maps", concepts, checkpoint=path, permutations=0, quantile=0.1)
    with pytest.raises(ValueError, match=r"checkpoint .* must be of model"):
        dissect(Net(4, 6), "maps", concepts, checkpoint=path, permutations=0)
    with pytest.raises(ValueError, match=r"checkpoint .* must be of layer"):
        dissect(model, "norm", concepts, checkpoint=path, permutations=0)


def test_what_cannot_be_read_is_skipped_counted_and_named(tmp_path):
    write_broden(tmp_path)
    broden = Broden(tmp_path)
    found = dissect(nn.Conv2d(3, 5, 3), "", broden, quantile=0.1, batch=3)
    assert found.images == 5
    assert [name for name, _ in found.skipped] == ["x/a.jpg", "x/cut.jpg"]
    assert "gone.png cannot be read" in found.skipped[0][1]
    readable = [i for i in range(7) if i not in (4, 5)]
    area = sum(read_labels(broden[i], broden.table).area for i in readable)
    assert found.label_area.tolist() == area.tolist()
    assert dict(zip(broden.table.names, area, strict=True))["bakery-shop"] == 6


class Unreadable:
    table = numbered(["a"])

    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise ConceptError("is gone")

    def name(self, index):
        return f"image {index}"


def infinite() -> nn.Module:
    model = nn.Conv2d(4, 2, 1)
    nn.init.constant_(model.weight, torch.inf)
    return model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantile": 1}, "quantile must be between 0 and 1, got 1"),
        ({"image_set": "both"}, "image_set must be one of .* got 'both'"),
        ({"permutations": -1}, "permutations must be at least 0, got -1"),
        ({"batch": 1}, "batch must be at least 2 to permute labels within it, got 1"),
        ({"batch": 0, "permutations": 0}, "batch must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"basis": torch.eye(3)}, r"basis must be \(u', 6\), got \(3, 3\)"),
        ({"layer": "nowhere"}, "layer must be a module of the model or its dotted name"),
        ({"concepts": Unreadable()}, r"at least one image must be readable, .* image \d: is gone"),
        ({"model": infinite(), "layer": ""}, r"maps of layer '' must be finite, .* for \d+"),
        ({"model": nn.Flatten(2), "layer": ""}, r"must put out maps .* got \(30, 4, 64\)"),
    ],
)
def test_bad_arguments(changes, message):
    arguments = {"model": Net(4, 6), "layer": "maps", "concepts": concept_images(masks_of())}
    arguments |= changes
    with pytest.raises(ValueError, match=message):
        dissect(**arguments)


def test_no_images():
    empty = ConceptArrays(torch.zeros(0, 3, 4, 4), torch.zeros(0, 1, 4, 4).long(), numbered("a"))
    with pytest.raises(ValueError, match="concepts must hold at least one image, got none"):
        dissect(nn.Identity(), "", empty)


def test_images_of_several_shapes():
    concepts = concept_images(masks_of(8))
    cut = iter(range(4, 12))
    with pytest.raises(ValueError, match=r"prepare must bring all images to one shape, got \(4, "):
        dissect(nn.Identity(), "", concepts, prepare=lambda image: image[:, : next(cut)])


def test_a_layer_that_does_not_run():
    model = Net(4, 6)
    model.idle = nn.Conv2d(4, 2, 1)
    with pytest.raises(ValueError, match="layer 'idle' must run once on the batch of 30 images"):
        dissect(model, "idle", concept_images(masks_of()))


def test_bytes_become_floats_in_the_unit_range():
    images = torch.full((4, 3, 2, 2), 255, dtype=torch.uint8)
    concepts = ConceptArrays(images, torch.ones(4, 1, 2, 2).long(), numbered("a"))
    found = dissect(nn.Identity(), "", concepts, quantile=0.5, permutations=0)
    assert found.thresholds.tolist() == [1, 1, 1]

"""Batches of every form, labels of every kind, and hashes that change with the data alone."""

import pytest
import torch
from torch.utils.data import TensorDataset

from interpretable_sgd.analysis.batches import (
    VerifiedLoader,
    check_labels,
    first_batch,
    hashes,
    inputs_of,
    primary_output,
    split_batch,
    stack,
)
from interpretable_sgd.analysis.provenance import data_hash

IMAGES, LABELS = torch.rand(6, 1, 2, 2), torch.arange(6)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_labels_of_every_integer_type_are_the_same_classes(kind):
    found = check_labels(torch.tensor([0, 2, 1]).to(kind), 3)
    assert found.dtype == torch.int64 and found.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([True, False]),
        torch.tensor([1.0, 0.0]),
        torch.tensor([[1.0], [0.0]]),
        torch.tensor([[1], [0]], dtype=torch.uint8),
    ],
)
def test_labels_of_one_output_are_two_classes(labels):
    assert check_labels(labels, 1).tolist() == [1, 0]


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float32])
def test_labels_of_several_classes_at_once_are_sets(kind):
    sets = torch.tensor([[1, 0, 1], [0, 0, 0]]).to(kind)
    assert torch.equal(check_labels(sets, 3), sets.bool())


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (torch.tensor([0.5]), 1, "labels must be whole numbers"),
        (torch.tensor([2]), 1, r"labels must be in 0 .. 1, the outputs of the head, got 2 .. 2"),
        (
            torch.tensor([[0.9, 0.1]]),
            2,
            "labels of 2 classes at once must be 0 or 1, got 0.1 .. 0.9",
        ),
        (torch.tensor([[0, 1, 1]]), 2, "labels must be whole numbers, .* each of the 2 outputs"),
        (torch.tensor([float("nan")]), 1, "labels must be whole numbers"),
    ],
)
def test_labels_that_are_none(labels, outputs, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels, outputs)


@pytest.mark.parametrize("name", ["labels", "label", "target"])
def test_a_mapping_holds_its_labels_under_their_name(name):
    inputs, labels = split_batch({"ids": IMAGES, name: [1, 0, 1, 0, 1, 0]})
    assert list(inputs) == ["ids"] and labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert list(inputs_of({"ids": IMAGES, name: LABELS})) == ["ids"]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"ids": IMAGES}, r"loader must give labels under one of .* got \['ids'\]"),
        ({"ids": IMAGES, "text": ["a"] * 6, "labels": LABELS}, "images as a tensor, got str"),
        (({"a": IMAGES, "b": IMAGES[:2]}, LABELS), "tensors of one length, got lengths"),
        ((IMAGES, torch.tensor(3)), "a tensor of images and as many labels"),
    ],
)
def test_batches_that_are_none(batch, message):
    with pytest.raises(TypeError, match=message):
        split_batch(batch)


def test_a_data_set_is_no_loader():
    with pytest.raises(TypeError, match=r"got the data set TensorDataset: .*DataLoader\(dataset"):
        first_batch(TensorDataset(IMAGES, LABELS))
    with pytest.raises(TypeError, match="loader must be an iterable of batches, got int"):
        first_batch(3)


def test_single_inputs_make_a_batch_again():
    for inputs in (IMAGES, {"a": IMAGES, "b": LABELS}, (IMAGES, LABELS)):
        rows = [split_row(inputs, n) for n in range(6)]
        again = stack(rows)
        assert repr(again) == repr(inputs)


def split_row(inputs, n):
    if isinstance(inputs, dict):
        return {key: value[n] for key, value in inputs.items()}
    return inputs[n] if isinstance(inputs, torch.Tensor) else tuple(value[n] for value in inputs)


def test_the_hash_is_of_inputs_labels_and_order():
    own = hashes(IMAGES, LABELS)
    assert torch.equal(
        own, torch.cat([hashes(IMAGES[:4], LABELS[:4]), hashes(IMAGES[4:], LABELS[4:])])
    )
    assert torch.equal(own, hashes(IMAGES.clone(), LABELS.int()))
    assert data_hash(own) != data_hash(own.roll(1))
    others = [
        hashes(IMAGES + 1e-7, LABELS),
        hashes(IMAGES, LABELS.roll(1)),
        hashes(IMAGES.double(), LABELS),
        hashes(IMAGES.reshape(6, 1, 4, 1), LABELS),
        hashes({"a": IMAGES, "b": IMAGES}, LABELS),
    ]
    assert all((own != other).all() for other in others)


def test_wanted_images_are_kept_and_a_second_pass_starts_anew():
    batches = list(zip(IMAGES.split(4), LABELS.split(4), strict=True))
    loader = VerifiedLoader(batches, hashes(IMAGES, LABELS), wanted={0, 5})
    for _ in range(2):
        assert sum(len(labels) for _, labels in loader) == 6
    assert set(loader.kept) == {0, 5}
    image, label = loader.kept[5]
    assert torch.equal(image, IMAGES[5]) and label == 5


@pytest.mark.parametrize(
    "batches",
    [
        [(IMAGES.roll(1, 0), LABELS)],
        [(IMAGES, LABELS.roll(1))],
        [(IMAGES[:4], LABELS[:4])],
        [(IMAGES, LABELS), (IMAGES[:1], LABELS[:1])],
    ],
)
def test_other_images_or_labels_in_another_pass_are_refused(batches):
    with pytest.raises(ValueError, match="same images in the same order in each pass"):
        list(VerifiedLoader(batches, hashes(IMAGES, LABELS)))


def test_the_logits_of_an_output_are_named_so_or_first():
    z, other = torch.rand(2, 3), torch.rand(2, 3)
    assert primary_output({"aux": other, "logits": z}) is z
    assert primary_output((z, other)) is z and primary_output([[z], other]) is z
    assert primary_output({"out": z}) is z and primary_output("nothing") is None

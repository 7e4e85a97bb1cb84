"""What a net sees of a picture, against literal crops and flips."""

import pytest
import torch

from experiments.datasets import transforms
from experiments.datasets.dataset import Augmented, InMemory

PICTURE = torch.randint(0, 256, (3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()


def normalised(picture, constants):
    mean, deviation = (torch.tensor(c).view(3, 1, 1) for c in constants)
    return (picture / 255 - mean) / deviation


def test_cifar_is_cropped_from_black_borders_and_flipped():
    view = transforms.small_photographs()
    padded = torch.nn.functional.pad(PICTURE, (4, 4, 4, 4))
    crops = {}
    for y in range(9):
        for x in range(9):
            crop = padded[:, y : y + 32, x : x + 32]
            crops[crop.numpy().tobytes()] = (y, x, False)
            crops[crop.flip(2).contiguous().numpy().tobytes()] = (y, x, True)
    assert len(crops) == 162
    mean, deviation = (torch.tensor(c).view(3, 1, 1) for c in transforms.CIFAR10)
    images = Augmented(InMemory(PICTURE[None], torch.zeros(1)), view.train, seed=0)
    seen = []
    for epoch in range(200):
        back = ((images[epoch, 0][0] * deviation + mean) * 255).round().byte()
        seen.append(crops[back.contiguous().numpy().tobytes()])
    # 200 draws: each row and column has 22 expected, each side 100 with standard error 7
    assert {y for y, _, _ in seen} == {x for _, x, _ in seen} == set(range(9))
    assert abs(sum(flip for *_, flip in seen) - 100) < 28
    assert torch.allclose(view.plain(PICTURE), normalised(PICTURE, transforms.CIFAR10), atol=1e-6)


def test_an_augmented_image_is_a_function_of_seed_epoch_and_image():
    view = transforms.photographs(24).train
    pictures = InMemory(PICTURE[None].repeat(2, 1, 1, 1), torch.zeros(2))
    images = Augmented(pictures, view, seed=0)
    image = images[3, 1][0]
    torch.rand(7)
    assert torch.equal(images[3, 1][0], image)
    for other in (images[4, 1], images[3, 0], Augmented(pictures, view, seed=1)[3, 1]):
        assert not torch.equal(other[0], image)


@pytest.mark.parametrize("size, whole", [(224, 256), (112, 128), (28, 32)])
def test_photographs_are_evaluated_in_their_middle(size, whole):
    picture = torch.randint(0, 256, (3, whole, whole)).byte()
    rim = (whole - size) // 2
    middle = picture[:, rim : rim + size, rim : rim + size]
    seen = transforms.photographs(size).plain(picture)
    assert torch.allclose(seen, normalised(middle, transforms.IMAGENET), atol=1e-6)


def test_photographs_of_any_shape_become_square():
    view = transforms.photographs(28)
    for shape in ((3, 50, 31), (3, 20, 90)):
        picture = torch.full(shape, 255, dtype=torch.uint8)
        for see in view:
            white = normalised(torch.full((3, 28, 28), 255), transforms.IMAGENET)
            assert torch.allclose(see(picture), white, atol=1e-5)


def test_prepare_loses_nothing_at_the_rim():
    picture = torch.zeros(3, 64, 64, dtype=torch.uint8)
    picture[:, 0] = 255
    view = transforms.photographs(32)
    black = normalised(torch.zeros(3, 32, 32), transforms.IMAGENET)
    assert torch.allclose(view.plain(picture), black, atol=1e-5)
    assert (view.prepare(picture)[:, 0] > black[:, 0] + 1).all()


def test_bytes_and_floats_are_seen_alike():
    for view in (transforms.small_photographs(), transforms.drawings(32)):
        assert torch.allclose(view.prepare(PICTURE), view.prepare(PICTURE / 255), atol=1e-5)
        assert torch.equal(view.prepare(PICTURE), view.plain(PICTURE))


def test_drawings_are_as_they_are_drawn():
    view = transforms.drawings(32)
    assert view.train is None
    assert torch.equal(view.plain(PICTURE / 255), PICTURE / 255)


def test_grey_pictures_are_normalised_all_at_once_as_one_by_one():
    view = transforms.grey(0.25, 0.5)
    pictures = PICTURE[:, None, :28, :28]
    at_once = view.plain(pictures)
    assert view.train is None
    assert torch.allclose(at_once, (pictures / 255 - 0.25) / 0.5, atol=1e-6)
    assert torch.equal(at_once[1], view.plain(pictures[1]))

"""Pictures in the page: proportions kept, dim where a unit is not, small as data."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from interpretable_sgd.report.pictures import data_uri, enlarged, masked, spotlight, strip


def test_small_pictures_grow_in_whole_pixels_and_keep_their_proportions():
    picture = torch.randint(256, (3, 4, 8), dtype=torch.uint8)
    large = enlarged(picture, 64)
    assert large.shape == (3, 32, 64)
    assert torch.equal(large, picture.repeat_interleave(8, 1).repeat_interleave(8, 2))
    assert enlarged(torch.zeros(3, 500, 250, dtype=torch.uint8), 100).shape == (3, 100, 50)


@pytest.mark.parametrize("shape", [(40, 40), (30, 60)])
def test_what_a_unit_sees_stays_as_it_is(shape):
    picture = torch.full((3, *shape), 200, dtype=torch.uint8)
    picture[0] = 20
    activation = torch.zeros(4, 4)
    activation[:, :2] = 1
    lit = spotlight(picture, activation)
    assert torch.equal(lit[:, :, 0], picture[:, :, 0])
    assert lit[:, :, -1].float().mean() < 0.5 * picture[:, :, -1].float().mean()
    assert (lit[:, :, -1].float().std(0) < 1).all()  # grey
    assert torch.equal(spotlight(picture, None), picture)


def test_masks_are_where_the_upsampled_map_exceeds_the_threshold():
    picture = torch.full((3, 20, 20), 90, dtype=torch.uint8)
    activation = torch.zeros(2, 2)
    activation[0, 0] = 1
    found = masked(picture, activation, 0.5)
    planes = torch.nn.functional.interpolate(
        activation[None, None], (20, 20), mode="bilinear", align_corners=False
    )[0, 0]
    assert torch.equal((found == 90).all(0), planes > 0.5)
    assert (found == 255).all(0).any()  # the outline


def test_strips_hold_every_shape():
    shapes = ((3, 50, 20), (3, 20, 50), (3, 30, 30))
    sheet = strip([torch.full(shape, 255, dtype=torch.uint8) for shape in shapes], side=40)
    assert sheet.size == (3 * 40 + 2 * 4, 40)
    filled = torch.tensor(np.array(sheet.getchannel("A"))) > 0
    widths = [int(filled[20, i * 44 : i * 44 + 40].sum()) for i in range(3)]
    assert widths == [16, 40, 40]


def test_data_is_the_picture():
    picture = torch.full((3, 16, 16), 120, dtype=torch.uint8)
    kind, _, data = data_uri(picture).partition(",")
    assert kind == "data:image/webp;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    assert image.size == (16, 16) and abs(image.getpixel((8, 8))[0] - 120) <= 3

"""Damaged images, indices, tables and checkpoints are skipped and named, or refused in one line.

300 files in every run, 30,000 with `pytest -m nightly`; which damage, the number of the file says.
"""

from pathlib import Path

import pytest
import torch

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.concepts import Broden, ConceptError, MaskFolders
from interpretable_sgd.report import command
from interpretable_sgd.report.images import ClassFolders, to_input
from interpretable_sgd.report.models import read_state
from tests.analysis.concepts.files import write_broden, write_image, write_plane, write_table
from tests.reliability.damaged import REPORT, checkpoint, damaged, images, weights

FEW, MANY = 60, 6000  # files of each of five kinds
COUNTS = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.nightly)]


def prepare(image):
    return to_input(image, 8, 8, [0.0], [1.0])


def assert_one_line(message: str) -> None:
    assert message and "\n" not in message and len(message) < 1000, message


@pytest.mark.filterwarnings("ignore")  # Pillow's, about large or strange files
@pytest.mark.parametrize("count", COUNTS)
def test_images_are_read_or_named(tmp_path, count):
    whole = list(images())
    (tmp_path / "a").mkdir()
    skipped = 0
    for seed in range(count):
        name, content = whole[seed % len(whole)]
        path = tmp_path / "a" / name
        path.write_bytes(damaged(content, seed))
        image, _, found, reason = ClassFolders(tmp_path, prepare)[0]
        assert found == str(path)
        if image is None:
            skipped += 1
            assert_one_line(reason)
        else:
            assert image.shape == (3, 8, 8) and torch.isfinite(image).all()
        path.unlink()
    assert count / 4 < skipped < count


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", COUNTS)
def test_label_images_and_a_table_of_labels(tmp_path, count):
    """A folder of images and masks, of which one file at a time is hurt."""
    write_image(tmp_path / "images/a.png")
    write_plane(tmp_path / "masks/a.png", [[k % 9 for k in range(8)]] * 8)
    table = tmp_path / "labels.csv"
    write_table(
        table, [{"number": k, "name": f"name {k}", "category": "object"} for k in range(1, 9)]
    )
    files = [tmp_path / "images/a.png", tmp_path / "masks/a.png", table]
    read = refused = 0
    for seed in range(count):
        path = files[seed % 3]
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, seed))
        try:
            MaskFolders(tmp_path / "images", tmp_path / "masks", table)[0]
            read += 1
        except (ConceptError, ValueError, OSError) as error:
            refused += 1
            assert_one_line(str(error))
        path.write_bytes(whole)
    assert read and refused


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", COUNTS)
def test_indices_and_tables_of_broden(tmp_path, count):
    write_broden(tmp_path)
    tables = sorted(tmp_path.glob("*.csv"))
    read = refused = 0
    for seed in range(count):
        path = tables[seed % len(tables)]
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, seed))
        try:
            broden = Broden(tmp_path)
            for index in range(len(broden)):
                assert isinstance(broden.name(index), str)
                try:
                    broden[index]
                except ConceptError as error:
                    assert_one_line(str(error))
            read += 1
        except (ValueError, OSError) as error:
            refused += 1
            assert_one_line(str(error))
        path.write_bytes(whole)
    assert read and refused


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", COUNTS)
def test_weights_and_checkpoints(tmp_path, count):
    whole = [*weights().items(), ("pass.pt", checkpoint(tmp_path))]
    read = refused = 0
    for seed in range(count):
        name, content = whole[seed % len(whole)]
        path = tmp_path / name
        path.write_bytes(damaged(content, seed))
        try:
            if name == "pass.pt":
                checkpoints.load(path, {"model": "a"})
            else:
                state = read_state(path)
                assert all(isinstance(value, torch.Tensor) for value in state.values())
            read += 1
        except (ValueError, OSError) as error:
            refused += 1
            assert_one_line(str(error))
            assert str(path) in str(error)
        path.unlink()
    assert refused > count / 2


@pytest.mark.parametrize("count", COUNTS)
def test_names_and_reports_of_other_models(tmp_path, count):
    names, report = tmp_path / "names.txt", tmp_path / "other.json"
    read = refused = 0
    for seed in range(count):
        path, content = [(names, b"cat\ndog\nzebra\n"), (report, REPORT)][seed % 2]
        path.write_bytes(damaged(content, seed))
        try:
            if path == names:
                assert all(isinstance(line, str) for line in command._lines(names) or ())
            else:
                assert 0 <= command._compared(report).accuracy <= 1
            read += 1
        except (ValueError, OSError) as error:
            refused += 1
            assert_one_line(str(error))
            assert Path(str(path)).name in str(error)
    assert read and refused

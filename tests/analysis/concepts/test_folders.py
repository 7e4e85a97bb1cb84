import numpy as np
import pytest

from interpretable_sgd.analysis.concepts import ConceptError, MaskFolders
from tests.analysis.concepts.files import write_image, write_plane, write_table

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def root(tmp_path):
    for name in ("a.jpg", "deep/b.png", "c.jpg"):
        write_image(tmp_path / "images" / name)
    write_plane(tmp_path / "masks/a.png", [[0, 300], [1, 1]])
    write_table(
        tmp_path / "labels.csv",
        [
            {"number": 0, "name": "nothing", "category": ""},
            {"number": 1, "name": "sky", "category": "stuff"},
            {"number": 300, "name": "cat", "category": ""},
        ],
    )
    return tmp_path


def read(root, masks="masks", ignore=()):
    folders = [root / name for name in masks] if isinstance(masks, list) else root / masks
    return MaskFolders(root / "images", folders, root / "labels.csv", ignore)


def write_grey(path, numbers, dtype):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(numbers, dtype=dtype)).save(path)


def test_pairs_by_path(root):
    write_grey(root / "masks/deep/b.png", [[1, 0, 1]], np.uint8)
    concepts = read(root)
    assert [concepts.name(i) for i in range(len(concepts))] == ["a.jpg", "c.jpg", "deep/b.png"]
    assert concepts[0].labels[0].tolist() == [[0, 300], [1, 1]]
    assert concepts[2].labels[0].tolist() == [[1, 0, 1]] and concepts[2].size == (1, 3)
    assert [(c.name, c.category) for c in concepts.table.concepts] == [
        ("sky", "stuff"),
        ("cat", "object"),
    ]


def test_an_image_without_a_label_image_is_unlabelled(root):
    assert read(root)[1].labels == [] and read(root)[1].size == (8, 8)


def test_numbers_of_palette_and_wide_images(root):
    palette = Image.fromarray(np.array([[1, 0]], dtype=np.uint8)).convert("P")
    palette.putpalette([9, 9, 9, 8, 8, 8])
    (root / "masks/deep").mkdir()
    palette.save(root / "masks/deep/b.png")
    write_grey(root / "masks/c.png", [[300, 1]], np.uint16)
    concepts = read(root)
    assert concepts[2].labels[0].tolist() == [[1, 0]]
    assert concepts[1].labels[0].tolist() == [[300, 1]]


def test_several_planes_and_ignored_numbers(root):
    write_grey(root / "more/a.png", [[255, 1], [0, 0]], np.uint8)
    planes = read(root, ["masks", "more"], ignore=[255])[0].labels
    assert [plane.tolist() for plane in planes] == [[[0, 300], [1, 1]], [[0, 1], [0, 0]]]


def test_wrong_pixels(root):
    colours = np.zeros((2, 2, 3), dtype=np.uint8)
    colours[0, 0, 2] = 1
    Image.fromarray(colours).save(root / "masks/a.png")
    with pytest.raises(ConceptError, match=r"label image in colour must be red \+ 256 green"):
        read(root)[0]
    Image.fromarray(np.zeros((2, 2, 4), dtype=np.uint8)).save(root / "masks/a.png")
    with pytest.raises(ConceptError, match="label image must have one channel or three, got"):
        read(root)[0]
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(root / "masks/a.tif")
    (root / "masks/a.png").unlink()
    with pytest.raises(ConceptError, match="label image must hold integers, got float32"):
        read(root)[0]


def test_files_that_differ_in_the_suffix_only(root):
    write_image(root / "images/a.png")
    with pytest.raises(ValueError, match=r"files must differ in more than the suffix, got .*a.jpg"):
        read(root)


def test_empty_folders(root):
    (root / "empty").mkdir()
    with pytest.raises(ValueError, match="empty must hold label images named as the images are"):
        read(root, "empty")
    with pytest.raises(ValueError, match=r"empty must hold images \(.jpg, .* it holds none"):
        MaskFolders(root / "empty", root / "masks", root / "labels.csv")


def test_missing_places(root):
    with pytest.raises(FileNotFoundError, match="nowhere must be a folder, and is not"):
        read(root, "nowhere")
    with pytest.raises(FileNotFoundError, match=r"none.csv must exist"):
        MaskFolders(root / "images", root / "masks", root / "none.csv")


def test_a_number_that_is_none(root):
    write_table(root / "labels.csv", [{"number": "one", "name": "sky"}])
    with pytest.raises(ValueError, match=r"number in .*labels.csv must be a whole number: .*'one'"):
        read(root)

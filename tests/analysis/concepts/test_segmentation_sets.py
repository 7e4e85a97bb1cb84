import numpy as np
import pytest
import torch

from interpretable_sgd.analysis.concepts import VOC, ConceptError, SegmentationSet

Image = pytest.importorskip("PIL.Image")


def test_reads_torchvisions_data_set(tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    base = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    (base / "ImageSets/Segmentation/train.txt").write_text("2007_000001\n")
    Image.fromarray(np.zeros((3, 4, 3), dtype=np.uint8)).save(base / "JPEGImages/2007_000001.jpg")
    mask = np.array([[0, 20, 255, 8]] * 3, dtype=np.uint8)
    palette = Image.fromarray(mask).convert("P")
    palette.putpalette(list(range(256)) * 3)
    palette.save(base / "SegmentationClass/2007_000001.png")
    concepts = SegmentationSet(datasets.VOCSegmentation(tmp_path, image_set="train"), VOC)
    sample = concepts[0]
    assert sample.labels[0].tolist() == [[0, 20, 0, 8]] * 3
    assert sample.image.shape == (3, 3, 4) and sample.size == (3, 4)
    assert VOC.names[20 - 1] == "tvmonitor" and VOC.names[8 - 1] == "cat"


def test_tensors_with_a_channel():
    concepts = SegmentationSet([(torch.rand(3, 2, 2), torch.full((1, 2, 2), 3))], VOC)
    assert len(concepts) == 1 and concepts.name(0) == "0"
    assert concepts[0].labels[0].tolist() == [[3, 3], [3, 3]]


def test_bad_items():
    class Broken:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise OSError("disk on fire")

    with pytest.raises(ConceptError, match="item 0 cannot be read: disk on fire"):
        SegmentationSet(Broken(), VOC)[0]
    with pytest.raises(ValueError, match="dataset must hold at least one image, got none"):
        SegmentationSet([], VOC)

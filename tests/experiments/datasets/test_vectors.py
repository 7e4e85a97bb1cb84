"""Vectors of frozen networks: encoded once, kept, and refused where what makes them is missing."""

import re
import zipfile
from types import SimpleNamespace

import pytest
import torch

from experiments.datasets import encoders, mails, pictured
from experiments.datasets.registry import REGISTRY, open_data
from experiments.datasets.spec import DataError
from experiments.datasets.synthetic.stamps import Stamps
from experiments.datasets.vectors import VectorFiles
from tests.experiments.datasets.cutouts import write_cutouts

MAIL = b"Received: from list\nSubject: Number %d\n\nText of\n%s.\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Ten mails in each folder, and an encoder that counts their characters."""
    for place in mails.FOLDERS:
        (tmp_path / "data" / place).mkdir(parents=True)
        for n in range(10):
            (tmp_path / "data" / place / f"{n:05}.txt").write_bytes(MAIL % (n, place.encode()))
    monkeypatch.setitem(
        REGISTRY,
        "mails",
        VectorFiles("mails", mails.EXPECTED, mails.read_mails),
    )
    said = []

    def vectors(texts):
        said.extend(texts)
        return torch.tensor([[len(text), n] for n, text in enumerate(texts)]).float()

    monkeypatch.setattr(encoders, "sentence_vectors", vectors)
    return SimpleNamespace(path=tmp_path, said=said)


def test_mails_are_encoded_once_without_their_headers(folder):
    out = folder.path / "out"
    data = open_data(f"mails:{folder.path}", out=out)
    assert folder.said[0] == "Number 0 Text of easy-ham-1." and len(folder.said) == 50
    assert data.shape == (2,) and data.class_names == ("easy ham", "hard ham", "spam")
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [30, 10, 10]
    again = open_data(f"mails:{folder.path / 'data'}", out=out)
    assert len(folder.said) == 50 and again.identity == data.identity
    assert torch.equal(again.test[3][0], data.test[3][0])


def test_other_mails_are_encoded_again(folder):
    first = open_data(f"mails:{folder.path}", out=folder.path)
    (folder.path / "data/spam-1/00003.txt").write_bytes(b"Subject: more")
    other = open_data(f"mails:{folder.path}", out=folder.path)
    assert other.identity != first.identity and len(folder.said) == 100


def test_a_missing_group_or_folder_is_named(folder):
    with pytest.raises(DataError, match=r"/none must be or hold .*npm pack.*nothing: there is no"):
        open_data("mails:/none")
    for file in (folder.path / "data/hard-ham-1").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"hard-ham-1 must hold mails, \*.txt, as part of"):
        open_data(f"mails:{folder.path}")


@pytest.mark.parametrize(
    "mail, text",
    [
        (b"Subject: a\nContent-Type: text/html\n\n<style>b {}</style><p>c&amp;d</p>", "a c&d"),
        (b"Subject: a\nContent-Transfer-Encoding: base64\n\nYiBj", "a b c"),
        (
            b"Content-Type: multipart/mixed; boundary=X\n\n--X\nContent-Type: text/html\n\n<b>h</b>"
            b"\n--X\nContent-Type: text/plain\n\nplain\n--X--\n",
            "plain",
        ),
        (b"", ""),
    ],
)
def test_text_of_a_mail(mail, text):
    assert mails.text_of(mail) == text


def test_scenes_are_seen_by_the_network_once(tmp_path, monkeypatch):
    stamps = write_cutouts(tmp_path / "stamps")
    counts = {"train": 24, "validation": 24, "test": 48}
    monkeypatch.setattr(pictured, "COUNTS", counts)
    monkeypatch.setattr(encoders, "efficientnet", lambda: None)
    looked = []

    def means(network, images):
        looked.append(len(images))
        return images.mean((2, 3))

    monkeypatch.setattr(encoders, "picture_vectors", means)
    first, again = (pictured.read_pictured(stamps, tmp_path) for _ in range(2))
    assert looked == [24, 24, 48] and again.identity == first.identity
    images, labels = Stamps(folder=str(stamps)).tensors("test", 48)
    assert torch.equal(again.splits["test"].labels, labels)
    assert torch.allclose(again.splits["test"].samples, images.mean((2, 3)))


def test_a_package_that_is_missing_is_named_and_its_data_not_at_hand(tmp_path, monkeypatch):
    source = VectorFiles("words", "a folder of words", mails.read_mails, (tmp_path,), ("nowhere",))
    monkeypatch.setitem(REGISTRY, "mails", source)
    assert source.located() is None
    with pytest.raises(DataError, match="mails needs nowhere, of a folder of words; not installed"):
        open_data(f"mails:{tmp_path}")
    monkeypatch.setitem(REGISTRY, "mails", VectorFiles("words", "words", mails.read_mails))
    with pytest.raises(DataError, match=re.escape("mails must have a path, mails:PATH, of words")):
        open_data("mails")


def test_weights_of_another_hash_are_refused(tmp_path, monkeypatch):
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("model.safetensors", b"other")
    modules = {
        "transformers": SimpleNamespace(),
        "all_minilm_l6_v2": SimpleNamespace(get_model_zip_path=lambda: archive),
    }
    monkeypatch.setattr(encoders.importlib, "import_module", modules.get)
    with pytest.raises(DataError, match="must hold weights of hash 53aa51172d14"):
        encoders.sentence_vectors(["a"])


def test_the_sentence_encoder_of_the_package():
    """Sentences of one meaning are nearer than others, whatever else is in the batch."""
    for name in encoders.SENTENCES:
        pytest.importorskip(name)
    vectors = encoders.sentence_vectors(
        ["A cat sleeps.", "The tax office writes again.", "A kitten naps."]
    )
    likeness = vectors @ vectors.T
    assert vectors.shape == (3, 384) and torch.allclose(likeness.diag(), torch.ones(3))
    assert likeness[0, 2] > 0.5 > likeness[0, 1]
    assert torch.allclose(encoders.sentence_vectors(["A cat sleeps."])[0], vectors[0], atol=1e-5)


def test_the_picture_network_of_the_package():
    for name in encoders.PICTURES:
        pytest.importorskip(name)
    vectors = encoders.picture_vectors(encoders.efficientnet(), torch.rand(2, 3, 64, 64))
    assert vectors.shape == (2, 1280) and vectors.min() >= 0 and vectors.std() > 0

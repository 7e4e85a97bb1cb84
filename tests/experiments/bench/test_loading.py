"""The benchmark of loading runs end to end on little, and counts images and seconds rightly."""

import json
import re

import pytest
import torch

from experiments.bench import loading

LITTLE = ["--data", "digits", "--batch", "8", "--images", "24", "--rounds", "2", "--device", "cpu"]


def test_measures_every_contestant_in_every_round(tmp_path, capsys):
    out = tmp_path / "deep/answer.json"
    assert loading.main([*LITTLE, "--workers", "1", "--out", str(out)]) == 0
    answer = json.loads(out.read_text())
    rates = answer["images_per_second"]
    assert list(rates) == ["augmented", "decoded", "loaded", "step", "together"]
    assert all(len(found) == 2 and min(found) > 0 for found in rates.values())
    assert answer["data"]["name"] == "digits" and answer["hardware"]["threads"] >= 1
    said = capsys.readouterr().out
    assert "digits, 1 x 8 x 8, resnet18, batch 8, 1 workers" in said
    assert re.search(r"the (step waits|data wait): 1 workers load .*; together \d+ % of", said)


def test_a_rate_leaves_out_the_first_batch_and_waits_at_the_end(monkeypatch):
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(loading.time, "perf_counter", lambda: next(clock))
    used, waits = [], []
    batches = ((torch.zeros(4, 1), torch.zeros(4)) for _ in range(9))
    found = loading.rate(batches, 6, used.append, lambda: waits.append(len(used)))
    assert found == 5 * 4 / 4.0 and len(used) == 6 and waits == [1, 6]


def test_without_workers():
    said = loading.verdict(loaded=2.0, together=0.6, workers=0)
    assert said.startswith("the data wait: without workers they come at 2.0 times what the step")


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--workers", "-1"], "--workers: must be at least 0, got -1"),
        (["--batch", "1"], "--batch: must be at least 2, got 1"),
        (["--rounds", "0"], "--rounds: must be at least 1, got 0"),
        (["--threads", "0"], "--threads: must be at least 1, got 0"),
        (["--images", "9"], "--images must be at least two batches, 16, got 9"),
        (["--data", "svhn"], "name must be one of cifar10, places365, "),
        (["--net", "vgg"], "model must be one of mlp, small_resnet"),
    ],
)
def test_bad_arguments(argv, said, capsys):
    with pytest.raises(SystemExit):
        loading.main([*LITTLE, *argv])
    assert said in capsys.readouterr().err

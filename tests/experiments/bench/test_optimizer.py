"""The benchmark runs end to end on a few images, and its statistics are right."""

import json
import random

import pytest

from experiments.bench import optimizer as bench


def test_writes_every_contestants_ratio(tmp_path, capsys):
    out = tmp_path / "deep" / "bench.json"
    argv = ["--steps", "2", "--batch", "2", "--device", "cpu", "--no-memory", "--out", str(out)]
    assert bench.main(argv) == 0
    (answer,) = json.loads(out.read_text())
    assert set(answer["contestants"]) == set(bench.CONTESTANTS)
    assert answer["contestants"]["SGD"]["ratio"] == 1
    assert answer["n"] == 2 and answer["batch"] == 2
    assert answer["holds"] == (answer["contestants"]["InterpretableSGD"]["ratio"] <= 1.03)
    assert {"hardware", "versions", "target"} <= set(answer)
    assert "n = 2 rounds" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own():
    peaks = bench.peak_growths("cpu", 2, ["SGD", "InterpretableSGD"])
    if None in peaks.values():
        pytest.skip("this system does not tell a process's peak")
    assert set(peaks) == {"SGD", "InterpretableSGD"}
    # weights, gradients and momentum of ResNet-18, 11.2 million float32 each
    assert min(peaks.values()) > 3 * 4 * 11.2e6


def test_median_interval_covers_the_median():
    generator, covered = random.Random(0), 0
    for _ in range(1000):
        low, high = bench.median_interval([generator.expovariate(1) for _ in range(31)])
        covered += low <= 0.6931 <= high
    assert 930 <= covered <= 995


def test_median_interval_of_one_value():
    assert bench.median_interval([2.0]) == [2.0, 2.0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--steps", "0"], "--steps: must be at least 1, got 0"),
        (["--batch", "1"], "--batch: must be at least 2, got 1"),
    ],
)
def test_bad_arguments(argv, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        bench.main(argv)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err

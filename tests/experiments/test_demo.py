"""The demo end to end on little data: files, summary, explanation, resumption, Ctrl-C, bad arguments."""

import json
import shutil

import numpy as np
import pytest
import torch

from experiments import __main__ as dispatch
from experiments import demo, jobs, results
from experiments.figures.convergence import running_mean
from experiments.figures.explained import parts
from experiments.problems import PROBLEMS
from experiments.training import in_memory

REQUIRED = {
    "test_accuracy",
    "validation_accuracy",
    "weights_per_class",
    "sparsity",
    "residual_at_5",
    "steps",
    "seconds",
    "seed",
    "n",
    "config",
    "hash",
}
SMALL = ["--device", "cpu", "--scale", "0.01"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert dispatch.main(["demo", "--out", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def summary(out):
    return json.loads((out / "summary.json").read_text())


def test_summary_has_every_number_of_every_run(summary):
    assert summary["complete"]
    named = [(run["data"], run["optimizer"], run["seed"]) for run in summary["runs"]]
    assert named == [(d, o, 0) for d in ("digits", "scenes") for o in PROBLEMS[d].contestants]
    for run in summary["runs"]:
        assert set(run) >= REQUIRED
        assert run["config"]["versions"]["torch"] == torch.__version__
        assert 0 <= run["residual_at_5"] < 1 and 0 < run["weights_per_class"] <= 64
    assert set(summary["paired_difference_of_test_accuracy"]) == {"digits", "scenes"}


def test_all_optimizers_have_the_same_settings(summary):
    dense, ours, l1 = (run["config"] for run in summary["runs"][2:])
    assert dense["optimizer"]["name"] == "SGD"
    shared = set(dense["optimizer"]) - {"name"}
    beside = set(dense) - {"optimizer"}
    for other in (ours, l1):
        assert all(other["optimizer"][key] == dense["optimizer"][key] for key in shared)
        assert all(other[key] == dense[key] for key in beside)
    assert set(l1["optimizer"]) - set(dense["optimizer"]) == {"l1"}


def test_first_loss_is_the_same_for_all(out, summary):
    first = [
        json.loads((results.folder(out, run["config"]) / "record.json").read_text())
        for run in summary["runs"]
    ]
    losses = [run["history"]["losses"][0] for run in first]
    assert losses[0] == losses[1] and losses[2] == losses[3] == losses[4]


def test_every_figure_is_there(out):
    names = {f"{f.__name__}-{d}.png" for f in demo.FIGURES for d in ("digits", "scenes")}
    assert {path.name for path in out.glob("*.png")} == names
    assert all(path.stat().st_size > 10_000 for path in out.glob("*.png"))


def test_it_ends_with_a_report_of_each_data_set(out, summary):
    """Of the same nets: the report's numbers are the summary's."""
    for data in ("digits", "scenes"):
        assert (out / f"report-{data}.html").stat().st_size > 100_000
        content = json.loads((out / f"report-{data}.json").read_text())
        figures = {name: figure["value"] for name, figure in content["figures"].items()}
        (run,) = [
            r for r in summary["runs"] if (r["data"], r["optimizer"]) == (data, "InterpretableSGD")
        ]
        assert content["provenance"]["config"]["optimizer"]["name"] == "InterpretableSGD"
        assert figures["images"] == run["n"]["test"]
        assert figures["accuracy"] == pytest.approx(run["test_accuracy"])
        assert figures["weights_per_class"] == pytest.approx(run["weights_per_class"])
        assert ("concept_f1" in figures) == (data == "scenes")
        compared = {row[0] for row in content["tables"]["compared"]["rows"]}
        others = {"SGD", "SGD, cut", "sparse heads on the units of SGD"}
        others |= {"SGD with L1", "SGD with L1, cut"} if data == "scenes" else set()
        assert compared == {"this model", "this model, cut", *others}
        training = content["tables"]["training"]
        assert training["columns"] == ["series", "model", "epoch", "value"]
        curves = {(row[0], row[1]) for row in training["rows"]}
        for measure in ("validation accuracy", "share of |w| < 0.001", "loss"):
            assert {(measure, "SGD"), (measure, "InterpretableSGD")} <= curves
        assert (("mean IoU of units", "SGD") in curves) == (data == "scenes")


def test_contributions_and_bias_are_the_logit(out, summary):
    for run in summary["runs"]:
        contents = results.arrays(out, run)
        for n in range(jobs.EXPLAINED):
            c, terms, bias = parts(contents, n)
            assert terms.sum() + bias == pytest.approx(contents["logits"][n, c], abs=1e-5)


def test_explained_units_are_those_of_the_maps(out, summary):
    contents = results.arrays(out, summary["runs"][-1])
    np.testing.assert_allclose(
        contents["maps"].mean((2, 3)), contents["units"], rtol=1e-4, atol=1e-6
    )


def test_a_rerun_trains_nothing_and_another_configuration_does(out, capsys, monkeypatch):
    before = (out / "summary.json").read_text()
    monkeypatch.setattr(jobs, "train", None)
    monkeypatch.setattr(demo, "FIGURES", ())
    monkeypatch.setattr(demo, "write_reports", lambda *arguments: [])
    assert demo.main(["--out", str(out), *SMALL]) == 0
    assert capsys.readouterr().out.count("kept from an earlier run") == 5
    assert json.loads((out / "summary.json").read_text())["runs"] == json.loads(before)["runs"]
    with pytest.raises(TypeError, match="NoneType"):
        demo.main(["--out", str(out), *SMALL, "--seeds", "1"])


def test_options_of_ours_can_be_set_and_are_part_of_the_configuration(out, tmp_path, capsys):
    copy = shutil.copytree(out, tmp_path / "copy")
    argv = ["demo", "--out", str(copy), "--data", "digits", *SMALL, "--set", "foresight=0"]
    assert dispatch.main([*argv, "sparsity=0.5"]) == 0
    assert capsys.readouterr().out.count("kept from an earlier run") == 1, "SGD has no such option"
    runs = json.loads((copy / "summary.json").read_text())["runs"]
    chosen = [run["config"]["optimizer"] for run in runs]
    assert [(c.get("foresight"), c.get("sparsity")) for c in chosen] == [(None, None), (0, 0.5)]


def test_interruption_keeps_finished_runs(tmp_path, capsys, monkeypatch):
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return in_memory.train(*args, **kwargs)

    monkeypatch.setattr(jobs, "train", interrupted)
    monkeypatch.setattr(demo, "FIGURES", ())
    monkeypatch.setattr(demo, "write_reports", lambda *arguments: [])
    argv = ["--out", str(tmp_path), "--data", "digits", *SMALL]
    assert demo.main(argv) == 130
    assert "1 of 2 runs kept" in capsys.readouterr().out
    half = json.loads((tmp_path / "summary.json").read_text())
    assert not half["complete"] and len(half["runs"]) == 1
    monkeypatch.setattr(jobs, "train", in_memory.train)
    assert demo.main(argv) == 0
    whole = json.loads((tmp_path / "summary.json").read_text())
    assert whole["complete"] and whole["runs"][0] == half["runs"][0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--seeds", "-1"], "--seeds must be at least 0, got -1"),
        (["--seeds", "1", "1"], "must not name anything twice"),
        (["--data", "mnist"], "invalid choice: 'mnist'"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--device", "tpu"], "--device must be auto, cpu or cuda, got tpu"),
        (["--out", __file__], "--out must be a folder, got the file"),
        (["--set", "foresight"], "--set: must be OPTION=VALUE, got 'foresight'"),
        (["--set", "foresight=-1"], "--set: foresight must be at least 0, and finite, got -1"),
        (["--set", "mask=batch"], "--set: mask must be one of"),
        (["--set", "hindsight=1"], "--set: "),
        (["--scale", "2"], r"--scale must be in (0, 1], got 2.0"),
    ],
)
def test_bad_arguments(argv, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        demo.main(argv)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_cuda_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        demo.main(["--device", "cuda"])
    assert "torch sees no CUDA device" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["bench"], ["train", "me"]])
def test_unknown_commands_are_told_the_known_ones(argv, capsys):
    with pytest.raises(SystemExit):
        dispatch.main(argv)
    assert f"command must be one of: {', '.join(dispatch.COMMANDS)}; got" in capsys.readouterr().err


def test_a_missing_extra_is_named(capsys, monkeypatch):
    def absent(path):
        raise ModuleNotFoundError("No module named 'rich'", name="rich")

    monkeypatch.setattr(dispatch.importlib, "import_module", absent)
    assert dispatch.main(["demo"]) == 1
    assert "pip install -e '.[experiments]'" in capsys.readouterr().err


def test_sizes_of_the_problems_are_the_announced_ones():
    assert {name: problem.sizes for name, problem in PROBLEMS.items()} == {
        "digits": None,
        "scenes": (5000, 1500, 2000),
        "glyphs": (6000, 1500, 2000),
    }
    digits = {split: len(y) for split, (_, y) in PROBLEMS["digits"].load(0).items()}
    assert digits == {"train": 1083, "validation": 359, "test": 355}


def test_running_mean_holds_values_between_steps():
    steps, values = np.array([1.0, 3.0, 4.0]), np.array([4.0, 1.0, 2.0])
    every = np.array([4.0, 1.0, 1.0, 2.0])
    expected = [every[: int(step)].mean() for step in steps]
    np.testing.assert_allclose(running_mean(steps, values), expected)

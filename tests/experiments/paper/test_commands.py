"""The commands `list`, `run` and `draw`, from a grid of two runs to a table."""

import dataclasses
import re
import signal

import pytest

from experiments import launch, store
from experiments.__main__ import main
from experiments.methods import DENSE, OURS, dynamic
from experiments.paper import commands
from experiments.paper.catalog import CATALOG, Entry
from experiments.paper.tables import frontier
from tests.experiments.conftest import planned

SMALL = Entry(
    "small",
    "a grid of two runs",
    "ours",
    (lambda runs, planned, out: frontier(runs, planned),),
    lambda scale, seeds: [planned(DENSE), planned(OURS)],
)


@pytest.fixture
def out(monkeypatch, tmp_path, one_thread):
    """A folder of results; the catalog has one more entry."""
    monkeypatch.setitem(CATALOG, "small", SMALL)
    return tmp_path / "out"


def test_run_then_draw_then_list(out, capsys):
    assert commands.run_main(["small", "--out", str(out)]) == 0
    first = capsys.readouterr().out
    assert len(re.findall(": trained", first)) == 2 and "Res18-ISGD" in first
    csv = (out / "tables" / "frontier-1.csv").read_text()
    assert csv.startswith("method,seeds,") and "Res18-ISGD,1," in csv

    assert commands.run_main(["small", "--out", str(out)]) == 0
    assert len(re.findall("stored before", capsys.readouterr().out)) == 2

    assert commands.draw_main(["small", "--out", str(out)]) == 0
    drawn = capsys.readouterr().out
    assert "Res18-ISGD" in drawn and "stored before" not in drawn
    assert (out / "tables" / "frontier-1.csv").read_text() == csv

    assert commands.list_main(["--out", str(out)]) == 0
    assert "2 of 2" in capsys.readouterr().out


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(out, monkeypatch, capsys):
    tell = launch.ProgressView.tell
    cut = []

    def tell_and_cut(self, event):
        tell(self, event)
        if event.kind == "step" and event.run == 1 and not cut:
            cut.append(event.step)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(launch.ProgressView, "tell", tell_and_cut)
    assert commands.run_main(["small", "--out", str(out)]) == 130
    said = capsys.readouterr().out
    assert f"stopped: 1 of 2 runs are stored in {out}; the same command goes on" in said
    assert commands.run_main(["small", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert len(re.findall("stored before", said)) == len(re.findall(": trained", said)) == 1


def test_a_run_that_fails_is_said_and_the_table_shown(out, monkeypatch, capsys):
    broken = dataclasses.replace(
        SMALL, plan=lambda scale, seeds: [planned(dynamic(999)), planned(OURS)]
    )
    monkeypatch.setitem(CATALOG, "small", broken)
    assert commands.run_main(["small", "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert re.search(r"resnet18-Dynamic-999-.* failed: ValueError: .*k must be in", said)
    assert "Res18-ISGD" in said and len(store.load(out)) == 1


def test_nothing_to_draw_from(out, capsys):
    assert commands.draw_main(["table1", "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert "none of its" in said and "python -m experiments run table1" in said
    assert commands.draw_main(["fig2", "--out", str(out)]) == 1
    assert re.search(
        r"fig2: there is no .*toy.json; python -m experiments run fig2", capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table2"], r"name must be one of all, table1.*got 'table2'"),
        (["table1", "--scale", "huge"], r"--scale: invalid choice: 'huge'"),
        (["table1", "--data", "mnist"], r"--data must be of cifar10, places365.*got 'mnist'"),
        (["table1", "--data", "cifar10", "cifar10:/x"], r"--data must not name a data set twice"),
        (["table1", "--data", "cifar10:/nowhere"], r"--data cifar10:/nowhere: .*/nowhere"),
        (["table1", "--scale", "paper"], r"--data cifar10: cifar10 must have a path"),
        (["table1", "--seeds", "1", "1"], r"--seeds must be different numbers, got \[1, 1\]"),
        (["table1", "--seeds", "-1"], r"--seeds/--seed: must be at least 0, got -1"),
        (["table1", "--devices", "0"], r"--devices: must be at least 1, got 0"),
        (["table1", "--device", "tpu"], r"--device: invalid choice: 'tpu'"),
        (["table1", "--workers", "-1"], r"--workers: must be at least 0, got -1"),
        (["table1", "--recipe", "batch"], r"--recipe: must be OPTION=VALUE, got 'batch'"),
        (["table1", "--recipe", "batch=0"], r"--recipe: batch must be an integer of at least 1"),
        (["table1", "--recipe", "hue=3"], r"--recipe: a recipe has epochs, .*, got 'hue'"),
    ],
)
def test_errors_at_the_door(words, message, out, capsys):
    with pytest.raises(SystemExit) as ended:
        commands.run_main([*words, "--out", str(out)])
    assert ended.value.code == 2 and re.search(message, capsys.readouterr().err, re.DOTALL)


def test_recipes_can_be_changed_from_the_command_line(out, capsys):
    words = ["small", "--out", str(out), "--recipe", "precision=bfloat16", "ema=0.9", "epochs=1"]
    assert commands.run_main(words) == 0
    recipes = [run["config"]["recipe"] for run in store.load(out)]
    assert [(r["precision"], r["ema"], r["epochs"]) for r in recipes] == [("bfloat16", 0.9, 1)] * 2


def test_data_that_is_missing_skips_its_rows_and_is_said(out, monkeypatch, capsys):
    mixed = dataclasses.replace(
        SMALL, plan=lambda scale, seeds: [planned(DENSE, data="mnist"), planned(DENSE)]
    )
    monkeypatch.setitem(CATALOG, "small", mixed)
    assert commands.run_main(["small", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"skipped mnist: mnist must have a path, mnist:PATH, of .*MNIST/raw", said)
    assert len(store.load(out)) == 1
    with pytest.raises(SystemExit):
        commands.run_main(["small", "--out", str(out), "--data", "mnist:/nowhere"])
    assert "--data mnist:/nowhere: /nowhere must be or hold" in capsys.readouterr().err


def test_the_list_says_which_data_are_at_hand(out, capsys, tmp_path):
    assert commands.list_main(["--out", str(out), "--data", f"mnist:{tmp_path}"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "mnist at" in said and "cifar10 a stand-in is drawn" in said and "scenes drawn" in said


def test_costs_are_known_where_each_was_measured():
    small = planned(DENSE)
    assert commands.costs([small, small]) == ("2 x 2", "?")
    known = CATALOG["fig4"].planned("tiny")
    assert commands.costs(known) == ("10 x 4", "1")


def test_an_out_folder_that_cannot_be(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        commands.run_main(["table1", "--out", str(tmp_path / "file")])
    assert "--out: must be a folder, got the file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        commands.run_main(["table1", "--out", str(tmp_path / "file" / "below")])
    assert re.search(
        r"--out must be a folder that can be written, got .*below", capsys.readouterr().err
    )


def test_devices_that_torch_does_not_see(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(SystemExit):
        commands.run_main(["table1", "--out", str(tmp_path), "--devices", "3"])
    assert "--devices must be at most 2, which torch sees, got 3" in capsys.readouterr().err
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        commands.run_main(["table1", "--out", str(tmp_path), "--device", "cuda"])
    assert "--device is cuda, but torch sees no CUDA device" in capsys.readouterr().err


def test_ranks_and_devices_are_two_ways(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(SystemExit):
        commands.run_main(["table1", "--out", str(tmp_path), "--devices", "2"])
    message = "--devices must be 1 where torchrun's ranks train each run together, got 2"
    assert message in capsys.readouterr().err


def test_where_data_lies_and_what_of_it_is_wanted():
    entries = [CATALOG["table1"], CATALOG["frontier"]]
    first = CATALOG["frontier"].data("tiny")[0]
    data = ["places365:/p", first, "broden:/b"]
    assert commands.restricted(data, entries, "tiny") == ["places365", first, "broden"]
    found = commands.sources(data, entries, "tiny")
    assert found == {"places365": "places365:/p", "broden": "broden:/b"}
    assert commands.sources(["broden", "cifar10"], entries, "tiny") == {"broden": "broden"}


def test_the_commands_are_commands(capsys):
    for command in ("list", "run", "draw"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert (
            ended.value.code == 0 and f"python -m experiments {command}" in capsys.readouterr().out
        )

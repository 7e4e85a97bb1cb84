import json

import pytest

from theory import __main__ as cli
from theory import registry, report, store
from theory.claim import Check, Claim, Verdict

CALLS = []


def right(quick, seed):
    CALLS.append("right")
    return Check(0.5, 1.0, error=0.01, n=7, seeds=3, note="[a, b] | c", numbers={"x": 1.0})


def wrong(quick, seed):
    CALLS.append("wrong")
    return Check(2.0, 1.0, n=7, note="twice the bound")


def broken(quick, seed):
    raise RuntimeError("no such thing")


RIGHT = Claim("right", "Theorem A", "it holds", "HOLDS UNDER", right, "eta <= 1 / L")
FALSE = Claim("false", "eq. (6)", "it is false, and documented", "FAILS", wrong)
WRONG = Claim("wrong", "eq. (7)", "documented otherwise", "HOLDS", wrong)
BROKEN = Claim("broken", "eq. (8)", "raises", "HOLDS", broken)


@pytest.fixture
def claims(monkeypatch):
    """Let the command know these claims and no others."""

    def use(*claims):
        monkeypatch.setattr(registry, "CLAIMS", list(claims))
        CALLS.clear()

    return use


def command(tmp_path, *argv):
    return cli.main([*argv, "--jobs", "1", "--no-figures", "--out", str(tmp_path)])


def test_the_table_and_the_record(claims, tmp_path, capsys):
    claims(RIGHT, FALSE)
    assert command(tmp_path) == 0
    printed = capsys.readouterr().out
    for part in ("HOLDS UNDER (eta <= 1 / L)", "0.5 ± 0.01", "FAILS", "twice the bound", "<= 1"):
        assert part in printed
    record = json.loads((tmp_path / "theory.json").read_text())
    assert [entry["verdict"] for entry in record["verdicts"]] == ["HOLDS UNDER", "FAILS"]
    assert record["verdicts"][0]["numbers"] == {"x": 1.0}
    assert record["config"]["quick"] is False


def test_a_verdict_that_differs_from_the_documentation_is_status_1(claims, tmp_path, capsys):
    claims(RIGHT, WRONG)
    assert command(tmp_path) == 1
    printed = capsys.readouterr().out
    assert "(documented: HOLDS)" in printed
    assert "differ from the documentation: wrong" in printed


def test_a_claim_that_raises_is_inconclusive_and_the_others_are_checked(claims, tmp_path, capsys):
    claims(BROKEN, RIGHT)
    assert command(tmp_path) == 1
    assert "RuntimeError: no such thing" in capsys.readouterr().out
    assert CALLS == ["right"]


def test_one_claim_by_name_writes_no_record(claims, tmp_path, capsys):
    claims(RIGHT, WRONG)
    assert command(tmp_path, "right") == 0
    assert "it holds" in capsys.readouterr().out
    assert not (tmp_path / "theory.json").exists()


def test_an_unknown_name_is_status_2(claims, tmp_path, capsys):
    claims(RIGHT)
    with pytest.raises(SystemExit) as stopped:
        command(tmp_path, "rihgt")
    assert stopped.value.code == 2
    assert "no claim is named 'rihgt'" in capsys.readouterr().err


def test_finished_claims_are_not_checked_again(claims, tmp_path):
    claims(RIGHT, FALSE)
    command(tmp_path, "right")
    command(tmp_path)
    assert CALLS == ["right", "wrong"]
    command(tmp_path, "--seed", "1")
    command(tmp_path, "--quick")
    assert CALLS == ["right", "wrong"] * 3


def test_what_raised_is_tried_again(claims, tmp_path, monkeypatch):
    claims(BROKEN)
    assert command(tmp_path) == 1
    claims(Claim("broken", "eq. (8)", "raises", "HOLDS", right))
    assert command(tmp_path) == 0


def test_the_list_names_every_claim(claims, tmp_path, capsys):
    claims(RIGHT, FALSE)
    assert command(tmp_path, "--list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["right", "false"]


def test_resnet_is_a_command_of_its_own(monkeypatch):
    seen = []
    monkeypatch.setattr(cli.resnet, "main", lambda argv: seen.append(argv) or 3)
    assert cli.main(["resnet", "--device", "cpu"]) == 3
    assert seen == [["--device", "cpu"]]


def test_checks_survive_being_stored(tmp_path):
    check = Check(
        float("inf"), float("nan"), ">=", numbers={"x": float("-inf")}, also=(Check(1.0, 2.0),)
    )
    restored = store.check_from_json(json.loads(json.dumps(store.check_to_json(check))))
    assert repr(restored) == repr(check)


def test_skipped_claims_are_tried_again(tmp_path):
    kept = store.Store(tmp_path, {"seed": 0})
    kept.save(Verdict(RIGHT, Check(0.0, 0.0, skipped="absent")))
    assert kept.load(RIGHT) is None
    kept.save(Verdict(RIGHT, Check(0.0, 0.0)))
    assert kept.load(RIGHT).check == Check(0.0, 0.0)


def test_the_page_gets_its_table_between_the_markers(claims, tmp_path):
    claims(RIGHT, FALSE)
    command(tmp_path)
    record = json.loads((tmp_path / "theory.json").read_text())
    text = f"before\n{report.BEGIN}\nstale\n{report.END}\nafter\n"
    page = report.page(text, record)
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "stale" not in page
    assert "| `right` it holds | Theorem A | **HOLDS UNDER** eta <= 1 / L | 0.5 ± 0.01 |" in page
    assert "\\| c |" in page
    assert report.page(page, record) == page


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="the page must hold the markers"):
        report.page("nothing", {"verdicts": [], "config": {}})


def test_the_documentation_shows_the_expected_verdict_of_every_claim():
    record = json.loads(report.RECORD.read_text())
    shown = {entry["name"]: entry["verdict"] for entry in record["verdicts"]}
    for claim in registry.CLAIMS:
        assert shown[claim.name] in (claim.expected, "SKIPPED"), claim.name
    assert report.page(report.PAGE.read_text(), record) == report.PAGE.read_text()

"""`interpretable-sgd example` writes a page, and opens it in a browser unless it is told not to."""

from pathlib import Path

import pytest

from interpretable_sgd.report.example import command
from tests.report.pages import page_study


def test_the_command_writes_the_page_and_opens_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(command, "study", page_study)
    monkeypatch.setattr(command.webbrowser, "open", lambda url: not opened.append(url))
    page = tmp_path / "a" / "example.html"
    assert command.main(["--out", str(page)]) == 0
    assert opened == [page.as_uri()] and "squares" in page.read_text()
    assert command.main(["--out", str(page), "--no-browser"]) == 0
    assert len(opened) == 1 and f"wrote {page}" in capsys.readouterr().out
    (tmp_path / "file").touch()
    assert command.main(["--out", str(tmp_path / "file" / "x.html")]) == 1
    assert "--out must be a file to write" in capsys.readouterr().err

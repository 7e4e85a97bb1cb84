import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "convergence.md"


def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(code) == 2
    exec("\n".join(code), {})
    assert (tmp_path / "run.png").exists()
    assert "at least as fast" in capsys.readouterr().out

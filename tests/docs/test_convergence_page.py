import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "convergence.md"


@pytest.mark.slow
def test_the_page_shows_what_its_examples_print(tmp_path, monkeypatch, capsys):
    """Lines without a decimal point to the letter: numbers may round differently elsewhere."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    exec("\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)), {})
    for picture in ("rate.png", "run.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    shown = "".join(re.findall(r"```text\n(.*?)```", text, flags=re.DOTALL)).splitlines()
    printed = capsys.readouterr().out.splitlines()
    assert len(shown) == len(printed)
    for one, other in zip(shown, printed, strict=True):
        numbers = re.compile(r"-?\d+\.\d+")
        assert numbers.sub("", one) == numbers.sub("", other)
        pairs = zip(numbers.findall(one), numbers.findall(other), strict=True)
        assert all(float(a) == pytest.approx(float(b), abs=0.05) for a, b in pairs)

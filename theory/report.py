"""The generated part of docs/theory.md: the table, between two markers."""

import json
from pathlib import Path
from typing import Any

from theory.store import ROOT
from theory.table import markdown

PAGE, RECORD = ROOT / "docs" / "theory.md", ROOT / "docs" / "theory.json"
BEGIN, END = "<!-- verdicts: generated -->", "<!-- end of verdicts -->"


def summary(record: dict[str, Any]) -> str:
    """A line on the run, and how often each verdict occurs."""
    entries, config = record["verdicts"], record["config"]
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry["verdict"]] = counts.get(entry["verdict"], 0) + 1
    total = sum(float(entry["seconds"]) for entry in entries)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    how = "--quick" if config["quick"] else "in full"
    return (
        f"{len(entries)} claims ({listed}), checked {how} with seed {config['seed']} in "
        f"{total:.0f} CPU seconds on {config['machine']}; torch {config['torch']}, "
        f"numpy {config['numpy']}."
    )


def page(text: str, record: dict[str, Any]) -> str:
    """The page with its generated part replaced.

    Raises:
        ValueError: the page lacks the markers.
    """
    if BEGIN not in text or END not in text:
        raise ValueError(f"the page must hold the markers {BEGIN!r} and {END!r}")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    generated = f"{summary(record)}\n\n{markdown(record['verdicts'])}"
    return f"{before}{BEGIN}\n{generated}\n{END}{after}"


def write(record_path: Path) -> None:
    """Put the table of a theory.json into the page, and keep the record beside it.

    Raises:
        FileNotFoundError: there is no such record.
    """
    record = json.loads(record_path.read_text())
    PAGE.write_text(page(PAGE.read_text(), record))
    RECORD.write_text(json.dumps(record, indent=1) + "\n")

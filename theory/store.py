"""Finished claims on disk: one file each, named by a hash of all that decides the outcome."""

import hashlib
import json
import math
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
import torch

from theory.claim import Check, Claim, Verdict

ROOT = Path(__file__).resolve().parent.parent
CODE = ("theory", *(f"interpretable_sgd/{room}" for room in ("optimizer", "layers", "convergence")))
"""What checks, and what is checked: a change elsewhere leaves finished claims as they are."""


def sources() -> str:
    """Digest of the code that checks and of the code that is checked."""
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def config(quick: bool, seed: int) -> dict[str, Any]:
    """What a run was: options, versions, hardware."""
    return {
        "quick": quick,
        "seed": seed,
        "sources": sources(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }


def key(name: str, config: dict[str, Any]) -> str:
    """Hash of a claim's name and the configuration, as canonical JSON."""
    canonical = json.dumps([name, config], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Numbers that JSON does not know become strings; numpy's become Python's."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else str(number)


def check_to_json(check: Check) -> dict[str, Any]:
    """A check as JSON."""
    plain: dict[str, Any] = _plain(asdict(check))
    return plain


def check_from_json(stored: dict[str, Any]) -> Check:
    """The inverse of `check_to_json`."""
    fields = dict(stored)
    for name in ("measured", "bound", "error", "tolerance"):
        fields[name] = float(fields[name])
    fields["numbers"] = {name: float(value) for name, value in fields["numbers"].items()}
    fields["also"] = tuple(check_from_json(part) for part in fields["also"])
    return Check(**fields)


class Store:
    """Finished claims of one configuration, under `folder / claims`.

    Args:
        folder: of the run.
        config: of `config`.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._folder, self._config = folder / "claims", config

    def _path(self, claim: Claim) -> Path:
        return self._folder / f"{claim.name}-{key(claim.name, self._config)}.json"

    def load(self, claim: Claim) -> Verdict | None:
        """The stored verdict; None if the claim is not finished. What was skipped is not."""
        path = self._path(claim)
        if not path.exists():
            return None
        stored = json.loads(path.read_text())
        check = check_from_json(stored["check"])
        return None if check.skipped else Verdict(claim, check, stored["seconds"])

    def save(self, verdict: Verdict) -> None:
        """Store a verdict, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(verdict.claim)
        stored = {"check": check_to_json(verdict.check), "seconds": round(verdict.seconds, 2)}
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(stored, indent=1, allow_nan=False))
        partial.replace(path)


def to_json(verdicts: list[Verdict], config: dict[str, Any]) -> str:
    """theory.json: the configuration and one entry per claim, as the table shows it."""
    entries = []
    for verdict in verdicts:
        claim, shown = verdict.claim, verdict.check.decisive()
        entries.append(
            {
                "name": claim.name,
                "source": claim.source,
                "statement": claim.statement,
                "verdict": verdict.verdict,
                "expected": claim.expected,
                "condition": claim.condition,
                "measured": shown.measured,
                "relation": shown.relation,
                "bound": shown.bound,
                "error": shown.error,
                "n": shown.n,
                "seeds": shown.seeds,
                "note": shown.skipped or shown.unclear or shown.note,
                "numbers": shown.numbers,
                "seconds": round(verdict.seconds, 2),
            }
        )
    return json.dumps(_plain({"config": config, "verdicts": entries}), indent=1, allow_nan=False)

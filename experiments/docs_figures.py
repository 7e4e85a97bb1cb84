"""Draw the pictures of the documentation from measured numbers.

    python -m experiments pictures [--runs runs/demo]

With `--runs`, the folder of a finished `python -m experiments demo --seeds 0 1 2 --data scenes`, the
numbers are first copied from there to docs/results/scenes.json; without it, the stored ones are drawn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import results
from experiments.figures.docs_frontier import frontier
from experiments.figures.flow import flow
from experiments.figures.head_maps import head_maps

ROOT = Path(__file__).parents[1]
MEASURED, PICTURES = ROOT / "docs/results/scenes.json", ROOT / "docs/pictures"
DATA = "scenes"
OWN = ("optimizer", "seed", "test_accuracy", "weights_per_class", "accuracy_at_weights", "hash")
SHARED = ("source", "net", "sizes", "epochs", "batch", "schedule", "threads", "versions")
DIGITS = 4


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments pictures", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--runs", type=Path, help="folder of a finished demo to read anew")
    args = parser.parse_args(argv)
    if args.runs is not None:
        if not (args.runs / "runs").is_dir():
            parser.error(f"--runs must be the folder of a finished demo, got {args.runs}")
        store(collected(args.runs), MEASURED)
    for picture in draw(json.loads(MEASURED.read_text()), PICTURES):
        print(f"wrote {picture}")
    return 0


def draw(measured: dict[str, Any], out: Path) -> list[Path]:
    """All pictures, in both colour schemes."""
    return [*head_maps(out, measured), *frontier(out, measured), *flow(out)]


def collected(runs: Path) -> dict[str, Any]:
    """What the pictures show of the stored runs: all their accuracies, and the heads of the first seed.

    Raises:
        ValueError: the folder has no run of the data.
    """
    found = [json.loads(path.read_text()) for path in sorted(runs.glob("runs/*/record.json"))]
    records = sorted(
        (record for record in found if record["data"] == DATA),
        key=lambda record: (record["optimizer"] != "SGD", record["seed"]),
    )
    if not records:
        raise ValueError(f"runs must hold runs of {DATA}, got none in {runs}")
    first, seed = records[0], records[0]["seed"]
    seeds = " ".join(str(r["seed"]) for r in records if r["optimizer"] == first["optimizer"])
    return {
        "command": f"python -m experiments demo --seeds {seeds} --data {DATA}",
        "config": {key: first["config"][key] for key in SHARED}
        | {"lr": first["config"]["optimizer"]["lr"]},
        "hardware": first["hardware"],
        "n": first["n"],
        "seed": seed,
        "runs": [{key: record[key] for key in OWN} for record in records],
        "weights": {
            record["optimizer"]: results.arrays(runs, record)["weight"].round(DIGITS).tolist()
            for record in records
            if record["seed"] == seed
        },
    }


def store(measured: dict[str, Any], place: Path) -> None:
    """Write one line for each key, each run and each row of weights."""
    lines = [f"{json.dumps(key)}: {_lines(value)}" for key, value in measured.items()]
    place.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _lines(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(results.canonical(item) for item in value) + "\n]"
    if isinstance(value, dict) and all(isinstance(item, list) for item in value.values()):
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {_lines(v)}" for k, v in value.items()) + "\n}"
    return results.canonical(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Draw the pictures of the documentation from measured numbers.

    python -m experiments pictures [--runs runs/demo]

With `--runs`, the folder of a finished `python -m experiments demo --seeds 0 1 2 --data scenes`, the
numbers are first copied from there to docs/results/scenes.json; without it, the stored ones are drawn.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context

from experiments import atomic_files, store
from experiments.figures import frontier, weight_maps
from experiments.store import Stored

ROOT = Path(__file__).parents[1]
MEASURED, PICTURES = ROOT / "docs/results/scenes.json", ROOT / "docs/pictures"
DATA, SCALE = "scenes", "demo"
METHODS = ("SGD", "InterpretableSGD")
OWN = (*store.KEY, "accuracy", "weights_per_class", "accuracy_at_weights", "hash")
SHARED = ("samples", "network", "recipe", "threads", "versions")
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
        write(collected(args.runs), MEASURED)
    for picture in draw(json.loads(MEASURED.read_text()), PICTURES):
        print(f"wrote {picture}")
    return 0


def draw(measured: dict[str, Any], out: Path) -> list[Path]:
    """All pictures, in both colour schemes."""
    runs = stored_runs(measured)
    data, model = runs[0]["data"], runs[0]["model"]
    paths = []
    with tempfile.TemporaryDirectory() as drafts, rc_context({"svg.fonttype": "none"}):
        folder = Path(drafts)
        weight_maps.heads(runs, folder, data, SCALE, "head-maps", (), model)
        frontier.frontier(runs, folder, [data], SCALE, model)
        for name in ("head-maps", "frontier"):
            for scheme in ("light", "dark"):
                picture = f"{name}-{scheme}.svg"
                atomic_files.replace(out / picture, (folder / picture).read_bytes())
                paths.append(out / picture)
    return paths


def stored_runs(measured: dict[str, Any]) -> list[Stored]:
    """Runs as figures read them, of measured numbers; the first seed alone has weights."""
    runs = []
    for record in measured["runs"]:
        run = Stored(Path("docs"), record)
        weights = measured["weights"].get(record["method"])
        arrays = {"weight": np.array(weights)} if record["seed"] == measured["seed"] else {}
        run.__dict__["arrays"] = arrays  # in place of a file
        runs.append(run)
    return runs


def collected(runs: Path) -> dict[str, Any]:
    """What the pictures show of the stored runs: all their accuracies, and the heads of the first seed.

    Raises:
        ValueError: the folder has no run of the data.
    """
    stored = [
        run
        for run in store.load(runs)
        if run["data"].partition(":")[0] == DATA and run["method"] in METHODS
    ]
    stored.sort(key=lambda run: (METHODS.index(run["method"]), run["seed"]))
    if not stored:
        raise ValueError(f"runs must hold runs of {DATA}, got none in {runs}")
    first = stored[0]
    seeds = " ".join(str(run["seed"]) for run in stored if run["method"] == first["method"])
    return {
        "command": f"python -m experiments demo --seeds {seeds} --data {DATA}",
        "config": {key: first["config"].get(key) for key in SHARED},
        "hardware": first["hardware"],
        "n": first["n"],
        "seed": first["seed"],
        "runs": [{key: run[key] for key in OWN} for run in stored],
        "weights": {
            run["method"]: run.arrays["weight"].round(DIGITS).tolist()
            for run in stored
            if run["seed"] == first["seed"]
        },
    }


def write(measured: dict[str, Any], place: Path) -> None:
    """Write one line for each key, each run and each row of weights."""
    lines = [f"{json.dumps(key)}: {_lines(value)}" for key, value in measured.items()]
    atomic_files.replace(place, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def _lines(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(store.canonical(item) for item in value) + "\n]"
    if isinstance(value, dict) and all(isinstance(item, list) for item in value.values()):
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {_lines(v)}" for k, v in value.items()) + "\n}"
    return store.canonical(value)

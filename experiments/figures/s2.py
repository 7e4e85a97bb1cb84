"""The supplement's Figure 2: units of a layer as compositions of units of the layer below."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.evaluation.selection import STAGES
from experiments.figures import graphs
from experiments.figures.series import INNER, SCALE, needs, runs_of
from experiments.figures.style import PlottedNumbers, Scheme, canvas, data_of, publish, shortened
from experiments.store import Stored

COLUMN = 1.15  # inches
TARGETS, SOURCES = 3, 2  # the paper's: the two units that contribute most
PARTS = {"layer2": "layer3_0", "layer3": "layer4_0", "layer4": "classes"}


def s2(
    stored: Sequence[Stored], out: Path, data: str = "places365", scale: str = SCALE
) -> list[Path]:
    """Draw layer2 to layer3_0, layer3 to layer4_0 and layer4 to classes of Res18-d[32,32,5]a.

    Of each routed convolution the channels whose labels fit best, each of another concept; between a
    convolution's channels and the units of the same stage lie the stage's blocks, so the parts are drawn
    side by side and not as one chain.

    Raises:
        MissingRuns: Res18-d[32,32,5]a was never trained on these data.
    """
    run = runs_of("s2", stored, [INNER], data, scale)[INNER][0]
    needs("s2", run, *(f"top_units:{stage}" for stage in PARTS))
    graph_of = {
        f"{stage} to {read}": graphs.graph(run.arrays, stage, _targets(run.arrays, stage), SOURCES)
        for stage, read in PARTS.items()
    }
    title = f"What units are made of, {INNER.label}, {data_of(data)} at scale {scale}"

    def draw(scheme: Scheme) -> Figure:
        columns = SOURCES * TARGETS
        height = max(map(graphs.height, graph_of.values()))
        figure = canvas(COLUMN * (columns + 0.3) * len(graph_of), COLUMN * height + 1)
        panels = figure.subplots(1, len(graph_of), squeeze=False)[0]
        for axes, (part, drawn) in zip(panels, graph_of.items(), strict=True):
            graphs.draw(axes, drawn, columns, scheme)
            axes.set_title(part, fontsize=11, loc="left", fontweight="bold")
        figure.suptitle(f"{title}, seed {run['seed']}; line width is weight", fontsize=12)
        return figure

    rows = [line for part, drawn in graph_of.items() for line in drawn.table(part)]
    return publish(out, "s2", title, draw, PlottedNumbers(graphs.COLUMNS, rows))


def _targets(arrays: Mapping[str, np.ndarray], stage: str) -> dict[int, str]:
    """What the top row says of each target."""
    targets = arrays[f"top_targets:{stage}"][:TARGETS].tolist()
    if stage == "layer4":
        return {c: shortened(str(arrays["class_names"][c]), 60) for c in targets}
    reader = STAGES[stage].removeprefix("inner:")
    names = arrays.get(f"inner_out_names:{reader}")
    if names is None:
        return {c: f"channel {c}" for c in targets}
    iou = arrays[f"inner_out_iou:{reader}"]
    return {c: f"channel {c}: {names[c] or 'no concept'}, IoU {iou[c]:.2f}" for c in targets}

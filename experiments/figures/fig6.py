"""Figure 6: the units that classes are made of, what they show, and how much they weigh."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.evaluation import selection
from experiments.figures import graphs
from experiments.figures.series import D5, OURS, SCALE, MissingRuns, first, needs, runs_of
from experiments.figures.style import PlottedNumbers, Scheme, canvas, data_of, publish, shortened
from experiments.store import Stored

COLUMN = 1.15  # inches


def fig6(
    stored: Sequence[Stored],
    out: Path,
    data: str = "places365",
    scale: str = SCALE,
    classes: Sequence[str] = (),
) -> list[Path]:
    """Draw the classes of these names, or evenly spaced ones, of Res18-d5a, and of ours beside it, over their units.

    Under each unit: its number from 0, concept and IoU, and the images that excite it most, bright where
    it exceeds the value that 0.5 % of its positions do. Connections below a tenth of a class's largest
    weight are left out, as in the paper; so are negative ones, which a routed head never reads.

    Raises:
        MissingRuns: Res18-d5a was never trained on these data, or there is no class of such a name.
    """
    runs = first(runs_of("fig6", stored, [D5], data, scale, beside=[OURS]))
    graph_of = {series: _graph(run, classes) for series, run in runs.items()}
    title = f"Units that classes read most, {data_of(data)} at scale {scale}"

    def draw(scheme: Scheme) -> Figure:
        wanted = [max(2 * len(drawn.targets), len(drawn.units)) for drawn in graph_of.values()]
        columns = max(wanted)
        heights = [graphs.height(drawn) + 0.3 for drawn in graph_of.values()]
        figure = canvas(COLUMN * columns, COLUMN * sum(heights) + 0.5)
        panels = figure.subplots(len(graph_of), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (series, drawn) in zip(panels, graph_of.items(), strict=True):
            graphs.draw(axes, drawn, columns, scheme)
            run, widest = runs[series], max(drawn.weights.values(), default=0)
            axes.set_title(
                f"{series.label}, seed {run['seed']}: test {run['accuracy']:.1%}; "
                f"line width is weight, the widest {widest:.2f}",
                fontsize=10,
                loc="left",
                fontweight="bold",
            )
        figure.suptitle(title, fontsize=11)
        return figure

    rows = [line for series, drawn in graph_of.items() for line in drawn.table(series.label)]
    return publish(out, "fig6", title, draw, PlottedNumbers(graphs.COLUMNS, rows))


def _graph(run: Stored, classes: Sequence[str]) -> graphs.Graph:
    needs("fig6", run, "top_units:layer4")
    names = [str(name) for name in run.arrays["class_names"]]
    for wanted in classes:
        if wanted not in names:
            some = ", ".join(names[:5])
            raise MissingRuns(f"--classes must be of {some}, ... ({len(names)}), got {wanted!r}")
    shown = [names.index(name) for name in classes] or selection.spaced(len(names)).tolist()
    texts = {c: shortened(names[c], 60) for c in shown}
    return graphs.graph(run.arrays, "layer4", texts, selection.SOURCES)

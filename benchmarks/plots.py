"""Pictures of outcomes, as SVG."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.outcomes import Outcome, Plot

PLOTS = Path(__file__).parent / "plots"


def draw(outcome: Outcome) -> None:
    """Draw what an outcome wants drawn, beside RESULTS.md."""
    if not outcome.plots:
        return
    matplotlib.use("svg")
    plt.rcParams["svg.hashsalt"] = outcome.row  # the same figures make the same file
    figure, places = plt.subplots(
        len(outcome.plots), figsize=(8, 3 * len(outcome.plots)), squeeze=False
    )
    for plot, place in zip(outcome.plots, places[:, 0], strict=True):
        _bars(plot, place)
    figure.tight_layout()
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / f"{outcome.row}.svg", metadata={"Date": None})
    plt.close(figure)


def _bars(plot: Plot, place: Axes) -> None:
    """Draw groups of bars side by side, each with its spread."""
    width = 0.8 / len(plot.series)
    for number, (name, figures) in enumerate(plot.series.items()):
        at = [group + number * width for group in range(len(figures))]
        spread = [
            [one.median - one.least for one in figures],
            [one.most - one.median for one in figures],
        ]
        place.bar(at, [one.median for one in figures], width, yerr=spread, label=name, capsize=2)
    middle = 0.4 - width / 2
    place.set_xticks([group + middle for group in range(len(plot.groups))], plot.groups)
    place.set_title(plot.title)
    place.set_ylabel(plot.unit)
    place.legend(fontsize="small")

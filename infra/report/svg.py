"""A picture as SVG that takes the page's colours: its ink is `currentColor`, its words are the page's font."""

from collections.abc import Callable
from io import StringIO

import matplotlib as mpl
from matplotlib import pyplot as plt

INK = "#010203"  # no other colour is this one: it becomes currentColor
COLOURS = ("#3b82f6", "#f59e0b", "#10b981", "#a855f7", "#ec4899", "#64748b")  # read on white and on black
ALARM = "#ef4444"
STYLES = ("-", "--", ":", "-.")
# Text stays text: in the page's font, found by its search, read aloud.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # a class may have a dollar in its name
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "legend.frameon": False,
    "savefig.transparent": True,
}
WIDE, TALL, SMALL = (4.4, 2.5), (4.4, 4.0), (2.5, 1.5)  # inches


def svg(draw: Callable[[plt.Axes], None], size: tuple[float, float] = WIDE) -> str:
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    found = text.getvalue()
    return found[found.index("<svg") :].replace(INK, "currentColor")

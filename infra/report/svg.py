"""Render a Matplotlib chart as SVG that inherits the font and the text color of the page."""

from collections.abc import Callable
from io import StringIO

import matplotlib as mpl
from matplotlib import pyplot as plt

INK = "#010203"  # a color that nothing else uses, to be replaced with currentColor
COLORS = ("#3b82f6", "#f59e0b", "#10b981", "#a855f7", "#ec4899", "#64748b")  # legible on white and on black
ALARM = "#ef4444"
STYLES = ("-", "--", ":", "-.")
# Text remains text, so that it uses the page's font, can be searched, and is read by screen readers.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # class names may contain a dollar sign
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


def render_svg(draw: Callable[[plt.Axes], None], size: tuple[float, float] = WIDE) -> str:
    """Return the SVG element of a chart that `draw` draws on its axes. `size` is in inches."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    document = text.getvalue()
    return document[document.index("<svg") :].replace(INK, "currentColor")

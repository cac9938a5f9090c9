"""Test the page of the report: it needs no other resource, and escapes the text of the log."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

from infra.report import charts
from infra.report.html_page import draw_charts
from tests.infra.report.lines import dark, feedback, prediction, request

pytestmark = pytest.mark.slow


class ExternalResources(HTMLParser):
    """Collect what a browser would fetch or run."""

    found = ()

    def handle_starttag(self, tag, attributes):
        fetched = [
            v for name, v in attributes if name in {"src", "href", "xlink:href", "data"} and not v.startswith("#")
        ]
        self.found += (*fetched, *([tag] if tag in {"script", "link", "iframe", "img", "object"} else []))


def test_page_has_no_external_resources(run, good):
    """The page has all parts, and no scripts, links or external images."""
    run(dark(good), page=True)
    page = Path("out/report.html").read_text()
    parser = ExternalResources()
    parser.feed(page)
    assert () == parser.found
    assert [] == re.findall(r"url\((?!#)|@import", page)
    assert 8 + 12 == page.count("<figure") == page.count("<svg")
    assert [] == [
        c for c in ("Lines read", "Confusion", "Signals, largest distance", "By model version") if c not in page
    ]


def test_log_text_is_escaped(run):
    """HTML and formulas in a version, class, service, error code or label remain text."""
    bad = "<script>$x^$"
    lines = [prediction(number, model_version=bad, predicted_class=bad, service=bad) for number in range(3)]
    run([*lines, request(9, status=400, error_code=bad, model_version=bad, service=bad), feedback(0, bad)], page=True)
    page = Path("out/report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;$x^$" in page


def test_class_without_predictions_has_the_share_zero(monkeypatch):
    """A class that the function no longer predicts falls to 0 in the chart, instead of having no point."""
    drawn = {}
    monkeypatch.setattr(charts, "render_svg", lambda _: "")
    monkeypatch.setattr(charts, "draw_lines", lambda points, names, **_: drawn.setdefault(tuple(names), points))
    points = [{"predictions": 2, "classes": classes} for classes in ({"cat": 1, "dog": 1}, {"cat": 2})]
    overall = {"requests": 0, "latency_ms": None, "predictions": 4, "classes": {"cat": 3, "dog": 1}, "labels": 0}
    draw_charts({"over_time": points, "overall": overall, "drift": {"judged": False}})
    assert [{"cat": 0.5, "dog": 0.5}, {"cat": 1, "dog": 0}] == [point["classes"] for point in drawn["cat", "dog"]]


def test_latencies_of_one_decade_have_labels(monkeypatch):
    """The logarithmic axis has at least two labels, even if all latencies are between 11 and 18 ms."""
    figure, axes = plt.subplots()
    monkeypatch.setattr(charts, "render_svg", lambda draw: draw(axes))
    span = {"from": "2026-01-05T00:00:00+00:00", "to": "2026-01-05T06:00:00+00:00", "model_version": "1"}
    points = [{**span, "latency_ms": {"p50": value}} for value in (11.0, 18.0)]
    charts.draw_lines(points, {"p50": ("latency_ms", "p50")}, log=True)
    figure.canvas.draw()
    low, high = axes.get_ylim()
    shown = [label.get_text() for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
    plt.close(figure)
    assert 2 <= len([text for text in shown if text])

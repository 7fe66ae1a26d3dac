"""Plots as inline SVG, drawn with matplotlib without a display."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#2563eb", "#ea580c", "#16a34a", "#9333ea", "#64748b", "#dc2626")
WIDTH, HEIGHT = 6.4, 3.0
FEW_POINTS = 20
FEW_LABELS = 12
LONGEST_NAME = 40
Points = Sequence[tuple[float, float]]


def lines(series: Mapping[str, Points], x_label: str, y_label: str) -> str:
    """One line a series."""
    with _drawing(x_label, y_label) as (axes, done):
        for colour, (name, points) in zip(_cycle(), series.items(), strict=False):
            marker = "o" if len(points) <= FEW_POINTS else None
            xs, ys = [x for x, _ in points], [y for _, y in points]
            axes.plot(xs, ys, label=name, color=colour, linewidth=1.5, marker=marker, markersize=4)
        if series:
            _legend(axes)
    return done[0]


def bars(groups: Mapping[str, Mapping[str, float]], y_label: str) -> str:
    """Groups of bars: group -> name -> value; the names are the same colour in every group."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    width = 0.8 / max(len(names), 1)
    with _drawing("", y_label) as (axes, done):
        for index, (name, colour) in enumerate(zip(names, _cycle(), strict=False)):
            places = [number + index * width for number, group in enumerate(groups.values()) if name in group]
            values = [group[name] for group in groups.values() if name in group]
            drawn = axes.bar(places, values, width * 0.92, label=name, color=colour)
            axes.bar_label(drawn, fmt="%.3g", fontsize=7, padding=1)
        middle = width * (len(names) - 1) / 2
        axes.set_xticks([number + middle for number in range(len(groups))], list(groups), fontsize=8)
        axes.margins(y=0.15)
        _legend(axes)
    return done[0]


def matrix(values: Sequence[Sequence[float]], labels: Sequence[str]) -> str:
    """A confusion matrix: rows are the truth, columns what was answered."""
    many = len(labels) > FEW_LABELS
    height = HEIGHT if not many else HEIGHT * len(labels) / FEW_LABELS
    with _drawing("answered", "truth", grid=False, height=height) as (axes, done):
        axes.imshow(values, cmap="Blues", aspect="auto")
        names = [label if len(label) <= LONGEST_NAME else label[:LONGEST_NAME] + "…" for label in labels]
        axes.set_xticks(range(len(labels)), names, fontsize=8 - 3 * many, rotation=90 * many)
        axes.set_yticks(range(len(labels)), names, fontsize=8 - 3 * many)
        top = max((value for row in values for value in row), default=0)
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                if value or not many:
                    colour = "white" if value > top / 2 else "black"
                    axes.text(x, y, f"{value:g}", ha="center", va="center", color=colour, fontsize=8 - 3 * many)
    return done[0]


def timeline(samples: Mapping[str, Points], marks: Mapping[str, float], x_label: str, y_label: str) -> str:
    """Points by series, and named moments as upright lines."""
    with _drawing(x_label, y_label) as (axes, done):
        for colour, (name, points) in zip(_cycle(), samples.items(), strict=False):
            axes.scatter([x for x, _ in points], [y for _, y in points], s=5, label=name, color=colour)
        for name, moment in marks.items():
            axes.axvline(moment, color="#334155", linewidth=1, linestyle=":")
            axes.text(moment, 1, f" {name}", transform=axes.get_xaxis_transform(), fontsize=7, va="top")
        _legend(axes)
    return done[0]


@contextmanager
def _drawing(
    x_label: str, y_label: str, *, grid: bool = True, height: float = HEIGHT
) -> Iterator[tuple[Axes, list[str]]]:
    """Names come from rows: they are drawn as text, never read as formulas, in whatever script."""
    with rc_context({"text.parse_math": False, "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield from _drawn(x_label, y_label, grid, height)


def _drawn(x_label: str, y_label: str, grid: bool, height: float) -> Iterator[tuple[Axes, list[str]]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    done: list[str] = []
    yield axes, done
    axes.set_xlabel(x_label, fontsize=8)
    axes.set_ylabel(y_label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis="y", alpha=0.25)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    done.append(out.getvalue()[out.getvalue().index("<svg") :])


def _legend(axes: Axes) -> None:
    """Above the plot, where it hides nothing."""
    axes.legend(frameon=False, fontsize=8, markerscale=2, loc="lower right", bbox_to_anchor=(1, 1), ncols=6)


def _cycle() -> Iterator[str]:
    while True:
        yield from COLOURS

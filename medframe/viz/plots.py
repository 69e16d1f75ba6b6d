"""Pictures for reports and notebooks, drawn with matplotlib and handed out as SVG or PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.base.extras import need
from medframe.image import Image, LabelMap
from medframe.metrics import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# distinct for colour-blind readers too (Okabe and Ito, "Color universal design", 2008)
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2", "#999999")
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


def figure(width: float, height: float) -> Figure:
    """A figure of its own, apart from pyplot's global state; a notebook shows it where it ends a cell."""
    module = need("matplotlib.figure", "draw figures")
    made: Figure = module.Figure(figsize=(width, height), layout="constrained", facecolor="white")
    made._repr_png_ = partial(_png, made)  # type: ignore[attr-defined]  # what IPython asks for
    return made


def colour(label: int) -> str:
    """The colour of a label value."""
    return COLOURS[(label - 1) % len(COLOURS)]


def overlay(
    image: Image,
    maps: Mapping[str, LabelMap],
    *,
    channel: int = 0,
    at: Sequence[float] | None = None,
    title: str = "",
) -> Figure:
    """Orthogonal slices of an image with the outlines of label maps: the first solid, the second dashed.

    All members are shown in RAS orientation, resampled onto the image's lattice where theirs differs; letters at the
    edges name the patient's sides.

    Args:
        image: 2-D or 3-D.
        maps: name -> label map, one or two of them.
        channel: of the image.
        at: world place in mm through which to slice; default the middle of the first map's labels.
        title: written above.
    """
    if not 1 <= len(maps) <= 2:
        raise BadArgument("overlay draws one or two label maps", found=list(maps))
    codes = "RAS"[: image.ndim]
    grey = image.to_space(image.space.reoriented(codes))
    data = grey.read().float()[channel].numpy()
    labels = {name: m.to_space(grey.space).data[0].numpy() for name, m in maps.items()}
    first = next(iter(labels.values()))
    if at is not None:
        centre = np.rint(grey.space.to_index(at)).astype(int)
    elif (first > 0).any():
        # the slice through the most labelled voxels says more than the one through their middle
        others = [tuple(a for a in range(first.ndim) if a != axis) for axis in range(first.ndim)]
        centre = np.array([int((first > 0).sum(o).argmax()) if o else 0 for o in others])
    else:
        centre = np.array(first.shape) // 2
    centre = np.clip(centre, 0, np.array(first.shape) - 1)
    planes = [(0, 1)] if image.ndim == 2 else [(0, 1), (0, 2), (1, 2)]
    drawn = figure(3.6 * len(planes), 3.9)
    axes = drawn.subplots(1, len(planes), squeeze=False)[0]
    low, high = np.percentile(data, [1, 99.5])
    spacing = grey.space.spacing
    for ax, (across, up) in zip(axes, planes, strict=True):
        pick = tuple(slice(None) if a in (across, up) else int(centre[a]) for a in range(image.ndim))
        height, width = data[pick].T.shape
        extent = (0.0, width * float(spacing[across]), 0.0, height * float(spacing[up]))
        ax.imshow(data[pick].T, cmap="gray", origin="lower", vmin=low, vmax=max(high, low + 1e-6), extent=extent)
        for name, style in zip(labels, ("solid", "dashed"), strict=False):
            _outlines(ax, labels[name][pick].T, extent, style)
        _letters(ax, codes[across], codes[up])
    if title:
        drawn.suptitle(title, fontsize=10)
    return drawn


def _outlines(ax: Axes, plane: NDArray[Any], extent: tuple[float, float, float, float], style: str) -> None:
    padded = np.pad(plane, 1)  # outlines close at the edge
    dx, dy = extent[1] / plane.shape[1], extent[3] / plane.shape[0]
    x = (np.arange(padded.shape[1]) - 0.5) * dx
    y = (np.arange(padded.shape[0]) - 0.5) * dy
    for value in np.unique(plane):
        if value > 0:
            mask = (padded == value).astype(float)
            ax.contour(x, y, mask, levels=[0.5], colors=[colour(int(value))], linewidths=1.3, linestyles=style)


def _letters(ax: Axes, right: str, top: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    style: dict[str, Any] = {"transform": ax.transAxes, "color": "#ffd84d", "fontsize": 9, "fontweight": "bold"}
    ax.text(0.98, 0.5, right, ha="right", va="center", **style)
    ax.text(0.02, 0.5, _OPPOSITE[right], ha="left", va="center", **style)
    ax.text(0.5, 0.98, top, ha="center", va="top", **style)
    ax.text(0.5, 0.02, _OPPOSITE[top], ha="center", va="bottom", **style)


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, xlabel: str, ylabel: str, log: bool = False
) -> Figure:
    """Lines over a common axis: name -> (x, y)."""
    drawn = figure(6.4, 3.2)
    ax = drawn.subplots()
    for k, (name, (x, y)) in enumerate(series.items()):
        ax.plot(x, y, label=name, color=COLOURS[(k + 6) % len(COLOURS)] if len(series) == 1 else colour(k + 1), lw=1.6)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if log:
        ax.set_yscale("log")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        ax.legend(frameon=False, fontsize=8)
    return drawn


def dots(groups: Mapping[str, Sequence[float]], *, ylabel: str) -> Figure:
    """One dot a case in a column a group, with the median as a bar."""
    drawn = figure(max(3.2, 1.1 * len(groups) + 1.6), 3.2)
    ax = drawn.subplots()
    for k, (_name, values) in enumerate(groups.items()):
        finite = np.array([v for v in values if np.isfinite(v)])
        if not len(finite):
            continue
        spread = (np.argsort(np.argsort(finite)) % 7 - 3) / 22.0  # apart without chance
        ax.scatter(k + spread, finite, s=16, alpha=0.75, color=colour(k + 1), linewidths=0)
        ax.hlines(np.median(finite), k - 0.3, k + 0.3, color="#333333", lw=1.6)
    ax.set_xticks(range(len(groups)), list(groups), rotation=0 if len(groups) < 6 else 60, fontsize=8)
    ax.set_ylabel(ylabel)
    ax.grid(axis="y", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    return drawn


def bars(groups: Mapping[str, Sequence[float]], *, xlabel: str, marked: Sequence[int] = (), bins: int = 30) -> Figure:
    """Histograms side by side, one a group; the marked values are drawn in red.

    Args:
        groups: name -> values, one a case and in one order.
        xlabel: of all of them.
        marked: positions of the values to mark.
        bins: at most so many bars.
    """
    drawn = figure(3.1 * len(groups), 2.5)
    axes = drawn.subplots(1, len(groups), squeeze=False)[0]
    for ax, (name, values) in zip(axes, groups.items(), strict=True):
        known = np.asarray(values, float)
        red = np.isin(np.arange(len(known)), list(marked))
        good = np.isfinite(known)
        if good.any():
            low, high = float(known[good].min()), float(known[good].max())
            margin = (high - low) / 20 or max(abs(high) / 20, 1e-3)  # equal values would give bars of no width
            edges = np.linspace(low - margin, high + margin, bins + 1)
            ax.hist([known[good & ~red], known[good & red]], edges, stacked=True, color=["#0072B2", "#D5312E"])
        ax.set_title(name, fontsize=9)
        ax.set_xlabel(xlabel, fontsize=8)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("cases", fontsize=8)
    return drawn


def reliability(bins: Mapping[str, Reliability]) -> Figure:
    """Reliability diagrams: how often predictions of each confidence came true, and below how many there are.

    On the diagonal, confidence is what it says; below it, the model is too sure. Empty bins are left out.

    Args:
        bins: name -> the bins of `medframe.metrics.reliability`; one column each.
    """
    drawn = figure(3.1 * len(bins), 4.0)
    rows = drawn.subplots(2, len(bins), squeeze=False, sharex=True, height_ratios=(3, 1))
    for k, (name, found) in enumerate(bins.items()):
        above, below = rows[0][k], rows[1][k]
        known = found.counts > 0
        middles = (np.arange(len(known)) + 0.5) / len(known)
        above.plot([0, 1], [0, 1], color="#999999", lw=1, ls="dashed")
        above.bar(middles[known], found.accuracy[known], width=0.9 / len(known), color=COLOURS[1], alpha=0.5)
        above.plot(found.mean_confidence[known], found.accuracy[known], "o-", color=COLOURS[6], ms=4, lw=1.4)
        above.set_title(f"{name}\nECE {found.expected_error:.3f}, Brier {found.brier:.3f}", fontsize=9)
        above.set_xlim(0, 1)
        above.set_ylim(0, 1)
        below.bar(middles, found.counts / max(1, found.counts.sum()), width=0.9 / len(known), color=COLOURS[7])
        below.set_xlabel("confidence", fontsize=8)
        for ax in (above, below):
            ax.tick_params(labelsize=8)
            ax.spines[["top", "right"]].set_visible(False)
    rows[0][0].set_ylabel("share that came true", fontsize=8)
    rows[1][0].set_ylabel("share of all", fontsize=8)
    return drawn


def to_svg(drawn: Figure) -> str:
    """The figure as SVG text for an HTML page."""
    stream = io.StringIO()
    drawn.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def to_png(drawn: Figure, dpi: int = 110) -> str:
    """The figure as a data address for an HTML page."""
    return "data:image/png;base64," + base64.b64encode(_png(drawn, dpi)).decode()


def _png(drawn: Figure, dpi: int = 110) -> bytes:
    stream = io.BytesIO()
    drawn.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()

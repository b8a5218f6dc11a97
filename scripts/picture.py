"""`python -m scripts.picture ledger.sqlite picture.png`: a run over a grid of two axes, drawn from what the ledger holds.

One parameter is a whole number of pixels, so that one that is missing cannot hide. Values on both sides of zero are drawn in
two palettes that meet there, as a Lyapunov fractal is: order in gold, chaos in blue.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import reading
from scripts.parameters import described_grid
from worker.errors import TtgError
from worker.program import exit_status
from worker.space import Axis, Grid

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

DPI = 200
SIDE = 1000
"""Pixels that a side of the picture has at least; more if the grid has more steps."""
MARGIN_LEFT, MARGIN_BOTTOM, MARGIN_RIGHT, MARGIN_TOP = 150, 135, 210, 65

BELOW_ZERO = ["#080301", "#2b0f02", "#662e04", "#a85f08", "#de9a1c", "#f6c24b", "#fde28f", "#fffbe6"]
ABOVE_ZERO = ["#2a62c9", "#16449c", "#0c2a72", "#071849", "#040c2a", "#02040f"]
MISSING = "#ff00d4"
DEAD = "#00f08c"
INK = "#333333"
ROBUST = 0.01
"""Share of the values below zero that may be darker than the scale, so that a few extremes do not flatten the rest."""


class NoPicture(TtgError):
    """The ledger does not hold what can be drawn."""


def draw(ledger: Path, target: Path, grid: Grid | None = None) -> Path:
    """Draw the run in the file `ledger` as the PNG `target`. The first axis runs to the right, the second upwards.

    Args:
        grid: the grid of the run, if it is not the one in the ledger.

    Raises:
        NoPicture: the run has not two axes, a value is no number, or matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        import numpy as np
        from matplotlib.figure import Figure
    except ImportError:
        raise NoPicture("there is no matplotlib to draw with: pip install 'ttg[examples]'") from None

    with reading.opened(ledger) as connection:
        run = reading.specification(connection, ledger)
        grid = grid or described_grid(run.description)
        if grid is None or len(grid.axes) != 2:
            raise NoPicture(f"{ledger} holds a run over {run.description}; only a grid of two axes is a picture")
        values, dead = _read(connection, grid)
    across, up = grid.axes
    pixels = [axis.steps * max(1, round(SIDE / axis.steps)) for axis in grid.axes]
    width, height = MARGIN_LEFT + pixels[0] + MARGIN_RIGHT, MARGIN_BOTTOM + pixels[1] + MARGIN_TOP

    with mpl.rc_context({"font.size": 8, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}):
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        axes = figure.add_axes(
            (MARGIN_LEFT / width, MARGIN_BOTTOM / height, pixels[0] / width, pixels[1] / height), xmargin=0, ymargin=0
        )
        colours, norm, extend = _scale(values)
        picture = colours(norm(values))
        missing = np.isnan(values) & ~dead
        for colour, cells in ((MISSING, missing), (DEAD, dead)):
            picture[cells] = mpl.colors.to_rgba(colour)
        axes.imshow(
            picture.swapaxes(0, 1), origin="lower", extent=(*_edges(across), *_edges(up)), aspect="auto", interpolation="none"
        )
        _label(axes, across.name, up.name)
        bar = figure.add_axes(((MARGIN_LEFT + pixels[0] + 50) / width, MARGIN_BOTTOM / height, 36 / width, pixels[1] / height))
        scale = figure.colorbar(mpl.cm.ScalarMappable(norm, colours), cax=bar, extend=extend, extendfrac=0.03)
        scale.outline.set_visible(False)
        scale.ax.tick_params(length=2, width=0.5)
        scale.ax.set_title(run.task.partition(":")[2], fontsize="medium", loc="left", pad=6)
        _legend(axes, {MISSING: ("missing", missing), DEAD: ("dead", dead)})
        figure.savefig(target, dpi=DPI, facecolor="white")
    return target


def _read(connection: sqlite3.Connection, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The values, NaN where there is none, and which are dead; both of the grid's shape."""
    import numpy as np

    values = np.full(grid.total, np.nan)
    for index, text in connection.execute("SELECT parameter, value FROM results"):
        try:
            values[index] = float(text)  # the JSON text of a number
        except ValueError:
            raise NoPicture(f"parameter {index} has the value {text:.100}; only numbers can be drawn") from None
    dead = np.zeros(grid.total, dtype=bool)
    for (index,) in connection.execute("SELECT parameter FROM dead"):
        dead[index] = True
    shape = [axis.steps for axis in grid.axes]
    return values.reshape(shape), dead.reshape(shape)


def _scale(values: np.ndarray) -> tuple[Colormap, Normalize, str]:
    """Colours, how values become colours, and at which end the colour bar goes on."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap, Normalize, TwoSlopeNorm

    known = values[~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if not low < 0.0 < high:
        return mpl.colormaps["cividis"], Normalize(low, high if high > low else low + 1.0), "neither"
    floor = float(np.quantile(known[known < 0.0], ROBUST))
    halves = [LinearSegmentedColormap.from_list("half", half)(np.linspace(0, 1, 256)) for half in (BELOW_ZERO, ABOVE_ZERO)]
    colours = LinearSegmentedColormap.from_list("order and chaos", np.concatenate(halves), N=512)
    return colours, TwoSlopeNorm(0.0, floor, high), "min" if low < floor else "neither"


def _edges(axis: Axis) -> tuple[float, float]:
    """Where the outer edges of the first and the last cell are; their centres are the axis's ends."""
    half = (axis.last - axis.first) / max(axis.steps - 1, 1) / 2 or 0.5
    return axis.first - half, axis.last + half


def _label(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, style="italic", labelpad=3)
    axes.set_ylabel(up, style="italic", rotation=0, labelpad=8)
    axes.tick_params(length=2.5, width=0.5)
    axes.spines[:].set_visible(False)


def _legend(axes: Axes, kinds: dict[str, tuple[str, np.ndarray]]) -> None:
    """Name the colours that are no values, if they are there."""
    from matplotlib.patches import Patch

    present = [Patch(color=colour, label=f"{cells.sum():,} {name}") for colour, (name, cells) in kinds.items() if cells.any()]
    if present:
        axes.legend(
            handles=present, loc="upper right", bbox_to_anchor=(1.0, -0.06), ncols=2, frameon=False, handlelength=1, borderpad=0
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="picture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", type=Path, help="the ledger's SQLite file")
    parser.add_argument("picture", type=Path, help="the PNG file to write")
    arguments = parser.parse_args(argv)
    print(draw(arguments.ledger, arguments.picture))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))

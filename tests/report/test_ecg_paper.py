"""ECG paper is to scale: 25 mm a second, 10 mm a millivolt, every lead once, and a rhythm strip."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from merit.report.ecg_paper import LAYOUTS, LEAD_NAMES, MM_PER_INCH, draw_ecg

FS_HZ = 100


def recording(seconds: float = 10.0) -> np.ndarray:
    """[12, T] mV: lead k is a step of 0.1 (k + 1) mV at half of each second."""
    t = np.arange(round(seconds * FS_HZ)) / FS_HZ
    return ((t % 1) >= 0.5) * 0.1 * np.arange(1, 13)[:, None]


def traces(figure: Figure) -> list[np.ndarray]:
    """Long lines of the drawing: what is neither grid, nor calibration, nor mark."""
    return [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xdata()) > 20]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_scale_and_leads(layout):
    figure = draw_ecg(recording(), FS_HZ, layout=layout, title="a title")
    _, columns = LAYOUTS[layout]
    lines = traces(figure)
    assert len(lines) == 12 + (columns > 1)
    for k, line in enumerate(lines[:12]):
        assert len(line) == 1000 // columns
        assert np.diff(line[:, 0]) == pytest.approx(25 / FS_HZ)
        assert np.ptp(line[:, 1]) == pytest.approx(10 * 0.1 * (k + 1))
    assert len({line[0, 0].round(3) for line in lines[:12]}) == columns
    names = [text.get_text() for text in figure.axes[0].texts]
    assert all(names.count(name) == 1 + (name == "II" and columns > 1) for name in LEAD_NAMES)


def test_a_millimetre_is_a_millimetre():
    figure = draw_ecg(recording(), FS_HZ)
    axes = figure.axes[0]
    box = axes.get_position()
    width_mm, height_mm = figure.get_size_inches() * MM_PER_INCH
    assert np.ptp(axes.get_xlim()) == pytest.approx(width_mm * box.width)
    assert np.ptp(axes.get_ylim()) == pytest.approx(height_mm * box.height)


def test_rhythm_strip_shows_all_of_lead_two():
    strip = traces(draw_ecg(recording(), FS_HZ))[-1]
    assert len(strip) == 1000
    assert np.ptp(strip[:, 1]) == pytest.approx(2.0)


def test_short_recordings_leave_paper_empty():
    lines = [line.get_xdata() for line in draw_ecg(recording(6.0), FS_HZ).axes[0].lines]
    assert sum(len(line) == 250 for line in lines) == 6
    assert max(map(len, lines)) == 600


def test_a_given_figure_is_drawn_into_and_can_be_saved(tmp_path):
    figure = Figure()
    assert draw_ecg(recording(), FS_HZ, figure=figure) is figure
    figure.savefig(tmp_path / "ecg.png", dpi=40)
    assert (tmp_path / "ecg.png").stat().st_size > 1000


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"shape \(8, 100\), expected \(12, T\)"):
        draw_ecg(np.zeros((8, 100)), FS_HZ)
    with pytest.raises(ValueError, match="unknown layout '4x3'"):
        draw_ecg(recording(), FS_HZ, layout="4x3")

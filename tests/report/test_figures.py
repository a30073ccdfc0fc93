"""One look per encoder, and what stands where nothing can be drawn."""

from __future__ import annotations

from merit.report import figures, style


def test_looks_differ_in_colour_marker_and_line():
    for values in zip(*(style.LOOKS[name] for name in style.LOOKS)):
        assert len(set(map(str, values))) == len(style.LOOKS)
    every = [*style.LOOKS.values(), *style.PEER_LOOKS.values()]
    assert len({(one.colour, one.marker) for one in every}) == len({one.label for one in every}) == len(every)


def test_nothing_to_draw_is_said():
    assert figures.nothing("no task was scored").texts[0].get_text() == "no task was scored"

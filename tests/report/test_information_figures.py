"""Figure 3's pictures, tables and sentences on made-up values whose answer is plain."""

from __future__ import annotations

import pytest

from merit.report import information_claims as claims
from merit.report import information_figures as fig3

RANDOM = [0.01, -0.01, 0.005, -0.005]


def number(value: float, width: float = 0.1, sign: float = 1.0) -> dict:
    return {"value": value, "low": value - width, "high": value + width, "draws": [sign * d for d in RANDOM]}


def result(encoder: str, level: float, scope: str = "unseen", ecg: float = 2.0, text: float = 1.0) -> dict:
    geometry = dict.fromkeys(fig3.QUANTITIES, number(0.5)) | {
        "ecg_spread": number(ecg), "text_spread": number(text), "ecg_rank": number(ecg), "text_rank": number(text),
        "encoder_rank": number(level), "text_in_ecg": number(0.9), "text_in_ecg_centred": number(0.3),
    }  # fmt: skip
    values = {
        "encoder": encoder, "scope": scope, "cohort": "ptb-xl", "n_pairs": 1500, "n_reports": 1100, "n": 1100,
        "n_patients": 900, "entropy": 6.1, "log_n": 7.0, "ceilings": {"info_nce": 5.0, "ksg": 6.0},
        "plain": {"ksg": 0.1, "gaussian": 0.2}, "shuffled": {"ksg": 0.0}, "geometry": geometry,
        "planted": {"truth": 1.0, "ksg": 0.9, "gaussian": 0.95}, "no_vote": {},
        "estimates": {name: number(level) for name in fig3.ESTIMATORS},
        "picture": {"ecg": [[0.1, 0.2], [0.3, 0.4]], "text": [[0, 0], [0.5, 0.5]], "explained": [0.4, 0.2]},
    }  # fmt: skip
    return {"values": values}


MISSING = {"values": {"encoder": "ib", "scope": "unseen", "reason": "no <b>reports</b>"}}
RESULTS = [result("merit", 1.0), result("cma", 0.5), MISSING, result("merit", 0.9, "validation")]


def test_pictures_are_drawn_with_and_without_numbers():
    for draw in (fig3.estimates, fig3.planes):
        assert draw(RESULTS)._repr_png_().startswith(b"\x89PNG")
        assert draw([MISSING])._repr_png_().startswith(b"\x89PNG")
    assert fig3.planes(RESULTS, "validation").axes
    axes = [axis for axis in fig3.planes(RESULTS).axes if axis.get_visible()]
    assert len(axes) == 2
    assert axes[0].get_xlim() == axes[1].get_xlim()


def test_each_estimator_has_its_ceilings():
    at = []
    for axis in fig3.estimates(RESULTS).axes[3:]:
        ends = [line.get_xdata() for line in axis.lines]
        at.append([round(float(x[0]), 1) for x in ends if len(x) == 2 and x[0] == x[1]])
    assert [set(row) >= {6.1, 7.0} for row in at] == [True] * 3
    assert 5.0 in at[0]
    assert 6.0 in at[1]
    assert 5.0 not in at[2]


def test_tables_hold_the_numbers_and_missing_ones_are_named():
    assert "1.00\n[0.90, 1.10]" in fig3.information_table(RESULTS)._repr_html_()
    assert "90.0\n[80.0, 100.0]" in fig3.geometry(RESULTS)._repr_html_()
    assert fig3.measured(RESULTS) == ["unseen", "validation"]
    assert fig3.measured([MISSING]) == []
    assert "1,100" in fig3.pairs(RESULTS)._repr_html_()
    assert fig3.missing(RESULTS).startswith("- unseen patients, IB: not measured, no")
    assert fig3.missing(RESULTS[:2]).startswith("Every encoder")
    assert fig3.geometry([MISSING])._repr_html_() == fig3.pairs([MISSING])._repr_html_() == ""


def test_difference_is_paired():
    value, low, high = claims.difference(number(1.0), number(0.4))
    assert (value, low, high) == (pytest.approx(0.6),) * 3
    _, low, high = claims.difference(number(1.0), number(0.4, sign=-1.0))
    assert high - low == pytest.approx(2 * 1.959964 * 0.0182574, rel=1e-3)
    assert claims.difference(number(1.0), {"value": 1.0, "draws": []}) is None


def test_sentences_follow_the_numbers():
    assert "MERIT minus CMA: InfoNCE, same critic +0.50 nats [+0.50, +0.50]" in claims.more_information(
        RESULTS, "unseen"
    )
    assert "(interval above zero in 3 of 3, below in 0, undecided in 0)" in claims.more_information(RESULTS, "unseen")
    assert "(interval above zero in 0 of 3, below in 3, undecided in 0)" in claims.more_information(
        RESULTS, "unseen", first="cma"
    )
    assert "not both" in claims.more_information(RESULTS, "validation")
    assert "broader by both" in claims.broader(RESULTS, "unseen")
    inside = "Most texts inside the ECG cloud: yes, 90 % [80, 100]; once the centroids are moved together: no, 30 %"
    assert inside in claims.broader(RESULTS, "unseen")
    assert "compare within one set only" in claims.broader(RESULTS, "unseen")
    assert "compare" not in claims.broader(RESULTS[:1], "validation")
    assert "broader by neither" in claims.broader([result("merit", 1, ecg=1.0, text=2.0)], "unseen")


def test_a_share_whose_interval_includes_one_half_is_undecided():
    one = result("merit", 1.0)
    one["values"]["geometry"] |= {"text_in_ecg": number(0.55), "text_in_ecg_centred": number(0.5) | {"low": None}}
    text = claims.broader([one], "unseen")
    assert "undecided, 55 % [45, 65]" in text
    assert "undecided, 50 % (no interval)" in text


def test_the_random_encoder_shows_what_a_large_region_is_worth():
    larger = claims.larger_region([*RESULTS, result("random", 4.0)], "unseen")
    assert "which has learnt nothing: effective rank before projection 4.00 [3.90, 4.10]" in larger
    assert "Its rank exceeds MERIT's: a large region alone is no sign of information." in larger
    smaller = claims.larger_region([*RESULTS, result("random", 0.2)], "unseen")
    assert "before projection 0.20 [0.10, 0.30], share outside the text's span 0.500 [0.400, 0.600]." in smaller
    assert "no sign" not in smaller
    assert "learnt nothing" not in claims.larger_region(RESULTS, "unseen")


def test_zeros_have_no_sign_and_minus_is_minus():
    one = result("merit", -0.001)
    assert "-" not in fig3._cell("nats", number(-0.5))
    assert fig3._cell("nats", number(-0.001)) == "0.00\n[−0.10, 0.10]"
    assert "0.00 [" not in claims.more_information([one, result("cma", 0.5)], "unseen")
    assert "−0.50 nats [−0.50, −0.50]" in claims.more_information([one, result("cma", 0.5)], "unseen")


def test_compression_follows_the_strength():
    falling = [result("ib-1", 1.0, ecg=1.0), result("cma", 3.0, ecg=3.0), result("ib", 2.0, ecg=2.0)]
    assert "CMA 3.00 and 3.000, IB 2.00 and 2.000" in claims.compression(falling, "unseen")
    assert "Both fall" in claims.compression(falling, "unseen")
    rising = [result("cma", 1.0), result("ib", 2.0)]
    mixed = [*rising, result("ib-1", 1.5)]
    assert "do not both fall at every step" in claims.compression(mixed, "unseen")
    assert "+1.00 [+1.00, +1.00] and 0.000 [0.000, 0.000]: the two measures are not ordered" in (
        claims.compression(rising, "unseen")
    )
    two = claims.compression(falling[1:], "unseen")
    assert "IB minus CMA: −1.00 [−1.00, −1.00] and −1.000 [−1.000, −1.000]: both are lower with the bottleneck" in two
    assert "every step" not in two
    assert "both are higher" in claims.compression([result("cma", 1.0, ecg=1.0), result("ib", 2.0)], "unseen")
    for one in falling[1:]:
        one["values"]["geometry"]["ecg_spread"]["draws"] = []
    assert "No paired intervals: both are lower" in claims.compression(falling[1:], "unseen")
    assert "fewer than two" in claims.compression(rising[:1], "unseen")


def test_the_check_of_the_estimators_is_drawn_and_read():
    rows = [
        {"shape": s, "width": 2, "n": n, "truth": t, "estimator": e, "estimate": t - off, "ceiling": c,
         "private": [0, 0], "no_vote": None}
        for s, n, e, off, c in (
            ("gaussian", 100, "info_nce", 0.5, 4.0), ("gaussian", 100, "gaussian", 0.3, None),
            ("gaussian", 500, "gaussian", 0.02, None), ("gaussian", 500, "ksg", 0.03, None),
            ("gaussian", 500, "ksg_plain", 0.2, None), ("cubed", 100, "gaussian", 0.9, None),
        )
        for t in (0.0, 1.0, 2.0)
    ]  # fmt: skip
    assert fig3.known(rows)._repr_png_().startswith(b"\x89PNG")
    text = claims.accuracy(rows)
    assert "Gaussian 0.020, KSG, corrected 0.030 and KSG as it is 0.200" in text
    assert "never exceeds log K in 3 checks" in text
    weak = "at a truth of 1 nat: Gaussian 0.300, KSG, corrected 0.030, KSG as it is 0.200 and InfoNCE 0.500 nats"
    assert weak in text
    assert "too low at every truth above 0 are Gaussian (by 0.90 to 0.90 nats)." in text
    assert "KSG" not in text.split("cubed")[1]
    rows[-1]["estimate"] = 2.25
    assert "not always too low: Gaussian (errors from −0.90 to +0.25 nats)." in claims.accuracy(rows)
    rows[0]["estimate"] = 9.0
    assert "EXCEEDS" in claims.accuracy(rows)


def test_an_estimator_without_a_vote_is_named_and_not_compared():
    silent = result("cma", 0.5)
    silent["values"]["no_vote"] = {"ksg": "of 1.00 nats planted it finds 0.40"}
    text = claims.more_information([result("merit", 1.0), silent], "unseen")
    assert "(interval above zero in 2 of 2" in text
    assert "- nearest neighbours (KSG) has no vote on CMA: of 1.00 nats planted it finds 0.40." in text
    assert "nearest" not in text.split("- nearest")[0]
    assert fig3.information_table([silent])._repr_html_().count("no vote") == 1
    assert "of 1.00 planted 0.95" in fig3.information_table([silent])._repr_html_()


def test_private_directions_stand_in_a_table_with_what_has_no_vote_in_brackets():
    row = {"shape": "gaussian", "width": 4, "private": [65, 0], "n": 2000, "truth": 2.0, "ceiling": None}
    rows = [
        row | {"estimator": "gaussian", "estimate": 1.95, "no_vote": None},
        row | {"estimator": "ksg", "estimate": 1.4, "no_vote": "it finds too little"},
        row | {"estimator": "gaussian", "estimate": 1.0, "no_vote": None, "private": [0, 0], "truth": 1.0},
    ]
    shown = fig3.private(rows)._repr_html_()
    assert "65 of the ECG" in shown
    assert "(1.40)" in shown
    assert "1.95" in shown
    assert "1.00" not in shown
    assert claims.accuracy(rows).endswith(
        "With private directions of either side that are louder than what is shared: Gaussian 0.050 nats, without KSG, "
        "corrected where no vote is given (1 of 2 estimates)."
    )
    assert fig3.private(rows[2:])._repr_html_() == ""


def test_committed_numbers_of_the_former_estimators_are_said_to_be_older():
    new, old = {"no_vote": {}}, {"estimates": {}}
    assert claims.older([]) == claims.older([{"results": [new, {"reason": "none"}]}]) == ""
    assert claims.older([{"results": [new, old]}]).startswith("These numbers are older than the present estimators")

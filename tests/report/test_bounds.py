"""The pictures and sentences of page `bounds` on made-up values whose answer is plain."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate.bounds import decoder as decoders
from merit.report import bounds_claims as claims
from merit.report import bounds_figures as figures


def row(truth: float, critic: str, batch: int, value: float) -> dict:
    return {
        "truth": truth, "critic": critic, "batch": batch, "value": value, "low": value - 0.1, "high": value + 0.1,
        "largest": value + 0.1, "ceiling": float(np.log(batch)),
        "temperature": {"model": 0.07, "tuned": 0.2}.get(critic),
    }  # fmt: skip


LEVELS = {"best": 0.5, "tuned": 0.45, "model": -0.3}
CONTRASTIVE = {
    "rows": [row(t, c, b, v) for t in (1.0, 8.0) for c, v in LEVELS.items() for b in (2, 128)], "paper_batch": 128,
}  # fmt: skip
REPORTS = {
    "rows": [{"batch": 32, "ceiling": 3.466, "value": 3.2, "low": 3.1, "high": 3.3}], "n_reports": 1234,
    "n_distinct": 800, "batch": 32, "paper_batch": 128,
}  # fmt: skip
DECODER = decoders.against_truth([1.0, 0.5, 0.0], n=20, seeds=3)
PROCESSING = {
    "discrete": [{"first": 1.0, "both": 0.5, "first_counted": 1.1, "both_counted": 1.2}] * 2,
    "gaussian": [{"first": 2.0, "both": 0.5}], "n_samples": 100,
    "resolutions": {"noises": [1.0, 0.1], "copy": [0.3, 2.3], "one": [0.2, 1.0], "whole": [0.4, 1.9], "ceiling": 2.0},
}  # fmt: skip


def gradient(way: str, scale: float, ratio: float) -> dict:
    return {"way": way, "scale": scale, "info_nce": 1.0, "masked_mse": ratio, "ratio": ratio, "low": ratio / 2,
            "high": 2 * ratio}  # fmt: skip


def run(name: str, info_nce: float, error: float, auroc: float | None) -> dict:
    def seeds(value: float) -> dict:
        return {"value": value, "sd": 0.01, "each": [value - 0.01, value + 0.01]}

    found = {"name": name, "info_nce": seeds(info_nce), "masked_mse": seeds(error)}
    return found if auroc is None else found | {"auroc": seeds(auroc) | {"low": auroc - 0.02, "high": auroc + 0.02}}


def sweep(scores: tuple[float | None, ...] = (0.7, 0.8, 0.65)) -> dict:
    spread = {"value": 1.0, "low": 1.0, "high": 1.0}
    return {
        "gradients": [gradient(w, s, 0.04 * s**p) for w, p in (("start", 2), ("trained", 1.5), ("target alone", 1))
                      for s in (1.0, 10.0)],
        "spreads": {"minmax": {"value": 0.1, "low": 0.05, "high": 0.2}, "mv": {"value": 0.2, "low": 0.1, "high": 0.4},
                    "zscore": spread},
        "n_spreads": 1000, "batches": 4, "first": 10, "n_hidden": 9000, "n_hidden_short": 2400, "batch": 32,
        "window_s": 2.5,
        "short": {"seeds": 2, "updates": 100}, "n_training": 900, "n_probed": 500, "unprobed": "too few",
        "runs": [run("1.0", 3.2, 0.9, scores[0]), run("10.0", 3.4, 0.8, scores[1]), run("random", 4.0, 1.4, scores[2])],
    }  # fmt: skip


def test_pictures_are_drawn_with_and_without_numbers():
    drawn = [figures.contrastive(CONTRASTIVE), figures.decoder(DECODER), figures.processing(PROCESSING)]
    drawn += [draw(values) for draw in (figures.gradients, figures.short_runs) for values in (sweep(), {"reason": "-"})]
    drawn.append(figures.short_runs(sweep((None, None, None))))
    assert all(one._repr_png_().startswith(b"\x89PNG") for one in drawn)


def test_the_ceiling_and_the_papers_batch_are_in_every_panel():
    for axis in figures.contrastive(CONTRASTIVE).axes:
        labels = axis.get_legend_handles_labels()[1]
        assert "the paper's batch, 128" in labels
        assert any(label.startswith("ceiling log B") for label in labels)
        (ceiling,) = [line for line in axis.lines if line.get_label().startswith("ceiling")]
        np.testing.assert_allclose(ceiling.get_ydata(), np.log(ceiling.get_xdata()))


def test_what_the_papers_batch_certifies():
    text = claims.contrastive(CONTRASTIVE)
    assert "log 128 = 4.85 nats (7 bits)" in text
    assert "exp(8) ≈ 2,981" in text
    assert "No seed passed log B in any of 12 cases" in text
    assert "nothing is certified" in text
    wrong = {**CONTRASTIVE, "rows": [*CONTRASTIVE["rows"], row(1.0, "best", 2, 5.0)]}
    assert "something is wrong" in claims.contrastive(wrong)


def test_repeated_reports():
    text = claims.reports(REPORTS)
    assert "this run's batch of 32: 3.20 [3.10, 3.30] of 3.47 nats" in text
    assert "paper's" not in text
    assert claims.reports({"reason": "no reports"}).endswith("no reports.")


def test_bound_and_gap_stand_beside_the_truth():
    text = claims.decoder(DECODER)
    assert f"Truth: {DECODER['information']:.2f} nats" in text
    assert "less than nothing" in text
    html = figures.decoders(DECODER)._repr_html_()
    assert html.count(f">{DECODER['information']:.2f}<") == 8  # the posterior's bound, and every row's sum


def test_a_turned_estimate_is_counted_and_a_broken_inequality_shown():
    text = claims.processing(PROCESSING)
    assert "0 of 2 discrete chains and 0 of 1 Gaussian chains" in text
    assert "wrong way round in 2 of 2" in text
    broken = {**PROCESSING, "gaussian": [{"first": 0.5, "both": 2.0}]}
    assert "1 of 1 Gaussian" in claims.processing(broken)


def test_the_scale_where_both_terms_pull_alike():
    text = claims.gradients(sweep())
    assert "0.04 times InfoNCE's at s = 1" in text
    assert "equal at s = 5" in text
    assert "power 2.00" in text
    assert "100-fold" in text
    assert "= 67 times the signal's" in text
    assert "at the 0.80 that the short runs below come down to, s = 75." in text
    assert claims.gradients({"reason": "no data"}) == "Not measured: no data."


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.7, 0.8, 0.65), "moves the probe even here"),
        ((0.7, 0.71, 0.65), "stays open"),
        ((0.6, 0.8, 0.65), "At s = 1.0, so short a run does not lift"),
        ((None, None, None), "Not probed: too few"),
    ],
)
def test_what_short_runs_say(scores, said):
    text = claims.short_runs(sweep(scores))
    assert said in text
    assert "InfoNCE rises from 3.20 to 3.40 (the same way in 2 of 2 seeds)" in text
    assert "falls from 0.90 to 0.80" in text
    assert "unit of the target alone trades" in text


def test_the_table_names_weight_and_decoders_sd():
    html = figures.runs_table(sweep())._repr_html_()
    assert "random network" in html
    assert "70.0 ±1.0\n[68.0, 72.0]" in html
    assert ">35<" in html
    assert ">100<" in html
    assert figures.runs_table({"reason": "-"})._repr_html_() == ""

"""The lead systems: Einthoven and Goldberger, Wilson's terminal, and how patients differ."""

from __future__ import annotations

import numpy as np
import pytest

from merit.data.recording import LEADS
from merit.synthetic import leads


def test_twelve_from_eight():
    eight = np.random.default_rng(0).normal(size=(8, 30))
    twelve = dict(zip(LEADS, leads.twelve_leads(eight)))
    assert twelve["III"] == pytest.approx(twelve["II"] - twelve["I"])
    assert twelve["aVR"] == pytest.approx(-(twelve["I"] + twelve["II"]) / 2)
    assert twelve["aVL"] == pytest.approx((twelve["I"] - twelve["III"]) / 2)
    assert twelve["aVF"] == pytest.approx((twelve["II"] + twelve["III"]) / 2)
    assert leads.twelve_leads(eight) == pytest.approx(leads.EIGHT_TO_TWELVE @ eight)


def test_leads_see_differences_of_potential_only():
    assert leads.ELECTRODES_TO_LEADS @ np.ones(9) == pytest.approx(0)
    potentials = np.zeros(9)
    potentials[2] = 3.0  # the left leg
    assert leads.ELECTRODES_TO_LEADS @ potentials == pytest.approx([0, 3] + [-1] * 6)


def test_rotations_are_rotations_and_turn_the_axis_clockwise():
    turn = leads.rotation(0.3, 0.2, -0.4)
    assert turn @ turn.T == pytest.approx(np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1)
    assert (leads.rotation(0, np.pi / 2, 0) @ [1, 0, 0])[1] == pytest.approx(1)  # from left to the feet


def test_fields_vary_between_patients_about_the_nominal_one():
    plain = leads.patient_field(np.random.default_rng(0), 0.0)
    assert plain[:2] == pytest.approx(leads.LEAD_FIELD[:2])
    assert plain[2:] == pytest.approx(leads.LEAD_FIELD[2:] * leads.CLOSENESS)
    fields = np.stack([leads.patient_field(np.random.default_rng(k), 1.0) for k in range(200)])
    assert fields.mean(0) == pytest.approx(plain, abs=0.2)
    assert fields.std(0).min() > 0.05

from __future__ import annotations

import pandas as pd
import pytest

from merit.evaluate.tasks import SeenInPretraining, refuse_seen

SEEN = pd.DataFrame(
    {"cohort": ["ptb-xl", "ptb-xl", "mimic-iv-ecg"], "patient_id": ["7", "7", "9"], "record_id": ["1", "2", "3"]}
)


def test_strangers_pass_and_ids_are_compared_within_a_cohort() -> None:
    assert refuse_seen([("ptb-xl", "8"), ("ptb-xl", "9")], SEEN) == 0


def test_a_seen_patient_is_refused_with_count_and_example() -> None:
    pairs = [("ptb-xl", "7"), ("ptb-xl", "7"), ("ptb-xl", "8")]
    with pytest.raises(SeenInPretraining, match=r"1 of 2 patients .* patient 7 of ptb-xl.*allow_seen=True") as error:
        refuse_seen(pairs, SEEN)
    assert "\n" not in str(error.value)


def test_allowed_patients_are_counted_once() -> None:
    assert refuse_seen([("ptb-xl", "7"), ("ptb-xl", "7"), ("mimic-iv-ecg", "9")], SEEN, allow_seen=True) == 2


def test_number_ids_meet_text_ids() -> None:
    assert refuse_seen([("ptb-xl", 7)], SEEN, allow_seen=True) == 1

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from merit.data.cohorts import open_cohort


def test_codes_become_acronyms_and_unknown_ones_are_counted(tmp_path: Path, record_writer: Any, make_ecg: Any) -> None:
    root = tmp_path / "csn"
    folder = root / "WFDBRecords/01/010"
    comments = ["Age: 85", "Sex: Male", "Dx: 164889003,59118001,698252002,55930002"]
    record_writer(folder, "JS00001", make_ecg(1), fs=500, comments=comments)
    record_writer(folder, "JS00002", make_ecg(2), fs=500, comments=["Age: NaN", "Sex: Unknown", "Dx: 55930002"])
    (folder / "JS00003.hea").write_bytes(b"")
    (folder / "JS00004.dat").write_bytes(b"12")
    cohort = open_cohort("csn", root)
    refs = cohort.refs().set_index("record_id", drop=False)
    assert refs["labels"].tolist() == [["AFIB", "IDC", "RBBB"], [], []]
    assert refs["patient_id"].tolist() == ["JS00001", "JS00002", "JS00003"]
    assert refs["sex"].iloc[0] == "male"
    assert refs["sex"].iloc[1:].isna().all()
    assert cohort.metadata.notes["unknown_codes"] == {"55930002": 2}
    assert cohort.strays() == ["WFDBRecords/01/010/JS00004"]
    assert cohort.read(refs.loc["JS00001"]).age == 85


def test_the_real_recordings_in_their_own_format(real_data: Path) -> None:
    cohort = open_cohort("csn", real_data / "csn")
    refs = list(cohort.refs().itertuples(index=False))
    assert len(refs) == 12
    assert "16x1+24" in (cohort.root / f"{refs[0].path}.hea").read_text()
    for ref in refs:
        recording = cohort.read(ref)
        published = np.fromfile(cohort.root / f"{ref.path}.mat", dtype="<i2", offset=24).reshape(-1, 12).T
        assert np.array_equal(np.rint(recording.signal_mv.astype(float) * 1000), published)
        assert "APB" in recording.labels or "427172004" in cohort.metadata.notes["unknown_codes"]
    assert refs[0].labels == ["APB", "IDC", "ST"]

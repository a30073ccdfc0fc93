"""MIMIC-IV-ECG 1.0: machine statements in one table, paths in another; nothing is labelled and nothing has folds."""

from __future__ import annotations

from merit.data.cohorts.base import Census, Cohort, Metadata, bounded, make_refs
from merit.data.reports import STATEMENT_BREAK
from merit.data.tables import iter_rows, whole_id

STATEMENTS = "machine_measurements.csv"
PATHS = "record_list.csv"
REPORTS = tuple(f"report_{index}" for index in range(18))


class MimicIvEcg(Cohort):
    """MIMIC-IV-ECG. Rows are those of `record_list.csv`; a study without statements has an empty report."""

    name = "mimic-iv-ecg"
    published_recordings = 800_035
    table_names = (PATHS, STATEMENTS)
    waveform_folders = ("files",)

    def _load(self) -> Metadata:
        bad: list[str] = []
        reports = self._reports(bad)
        rows = list(iter_rows(self.root / PATHS, ("subject_id", "study_id", "path"), (), bad))
        rows = [(whole_id(subject), whole_id(study), path.replace("\\", "/")) for subject, study, path in rows]
        studies = [study for _, study, _ in rows]
        refs = make_refs(
            {
                "record_id": studies,
                "patient_id": [subject for subject, _, _ in rows],
                "path": [path for _, _, path in rows],
                "report": [reports.get(study, "") for study in studies],
                "problem": ["" if subject and study else "no patient or study id" for subject, study, _ in rows],
            }
        )
        without = len(set(studies) - reports.keys())
        unlisted = sorted(reports.keys() - set(studies))
        notes = {"studies_without_statements": without, "statements_without_study": bounded(unlisted)}
        return Metadata(refs, bad, notes)

    def census(self, max_files: int) -> Census:
        """Counts the rows of `record_list.csv` without reading a report."""
        rows = sum(1 for _ in iter_rows(self.root / PATHS, ("study_id",), (), []))
        return self._bounded_census(rows, max_files)

    def _reports(self, bad: list[str]) -> dict[str, str]:
        """Study -> its statements, one a line."""
        path = self.root / STATEMENTS
        if not path.is_file():
            return {}
        rows = iter_rows(path, ("study_id", "report_0"), REPORTS[1:], bad)
        return {whole_id(study): STATEMENT_BREAK.join(text for text in texts if text) for study, *texts in rows}

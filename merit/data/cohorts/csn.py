"""Chapman-Shaoxing-Ningbo 1.0.0: no table; age, sex and SNOMED codes stand in each record's header."""

from __future__ import annotations

from collections import Counter

from merit.data import taxonomy
from merit.data.cohorts.base import HEADER, Census, Cohort, Metadata, header_comments, make_refs, walk_files
from merit.data.tables import age_years, sex_name

FOLDER = "WFDBRecords"


class Csn(Cohort):
    """CSN. A row is a header; its labels are the acronyms of the codes that the publisher's own table lists.

    Codes outside that table are counted in the notes: no acronym is made up for them.
    """

    name = "csn"
    published_recordings = 45_152
    waveform_folders = (FOLDER,)
    patient_ids_published = False

    def _load(self) -> Metadata:
        paths = [path for path, _ in walk_files(self.root, FOLDER, (HEADER,), self.unread)]
        found = [header_comments(str(self.root), path) for path in paths]
        comments = [comments for comments, _ in found]
        codes = [[code.strip() for code in c.get("dx", "").split(",") if code.strip()] for c in comments]
        known = taxonomy.csn_labels()
        names = [path.rpartition("/")[2] for path in paths]
        refs = make_refs(
            {
                "record_id": names,
                "patient_id": names,
                "path": paths,
                "labels": [sorted({known[code] for code in row if code in known}) for row in codes],
                "age": [age_years(c.get("age", "")) for c in comments],
                "sex": [sex_name(c.get("sex", "")) for c in comments],
                "problem": [problem for _, problem in found],
            }
        )
        unknown = Counter(code for row in codes for code in row if code not in known)
        return Metadata(refs, [], {"unknown_codes": dict(sorted(unknown.items()))})

    def census(self, max_files: int) -> Census:
        """Every header is a row, so nothing but names is looked at."""
        return self._bounded_census(None, max_files)

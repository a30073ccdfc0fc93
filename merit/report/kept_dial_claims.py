"""What committed numbers of what is kept say, as sentences."""

from __future__ import annotations

from pathlib import Path

from merit.report import reference
from merit.report.ablation_tables import ordered
from merit.report.kept_committed import AXES, READERS, File, bar, by_share, files, mean_text, row_of, seeds_text
from merit.report.numerals import fixed
from merit.report.prose import listing
from merit.report.style import look


def above_merit(profile: str, synthetic: bool, folder: Path | None = None) -> str:
    """Which encoders of an equal budget keep more than MERIT, by more than both spreads over seeds, as a sentence."""
    lines = []
    for file in filter(reference.budgeted, files("kept", profile, synthetic, folder)):
        names = ordered({row["encoder"] for row in file["over_seeds"]} - {"merit"})
        more = {metric: [name for name in names if _more(file, name, metric)] for metric in AXES}
        both = [look(name).label for name in names if all(name in found for found in more.values())]
        beyond = [look(name).label for name in more["beyond_linear"] if look(name).label not in both]
        if both:
            lines.append(f"More than MERIT, beyond the report and in it: **{listing(both)}**.")
        if beyond:
            lines.append(f"More than MERIT beyond the report, not in it: {listing(beyond)}.")
        if not both:
            lines.append("None of these encoders keeps more than MERIT both beyond the report and in it.")
        if "MERL, ours" in both:
            lines.append(
                "MERL's method differs from MERIT's in its network too (a ResNet18, and no reconstruction); none of "
                "these runs tells which of the two it is: at this size the network may weigh more than the objective."
            )
    return " ".join(lines)


def left_out(profile: str, folder: Path | None = None) -> str:
    """What the dial does to what lies beyond the report, and to the gap between MERIT and CMA, as sentences."""
    lines = []
    for file in files("left_out", profile, True, folder):
        by_name = {name: by_share(file, name, "beyond_linear") for name in READERS}
        if any(len(rows) < 2 for rows in by_name.values()):
            continue
        for name, rows in by_name.items():
            ends = [
                f"{mean_text(file, row).replace(chr(10), ' ')} % at {100 * row['share']:.0f} %"
                for row in (rows[0], rows[-1])
            ]
            lines.append(f"{look(name).label} keeps {' and '.join(ends)} left out")
        gaps = [100 * (a["mean"] - b["mean"]) for a, b in zip(by_name["merit"], by_name["cma"])]
        shares = [f"{fixed(gap, 1, sign=True)} at {100 * row['share']:.0f} %" for gap, row in zip(gaps, by_name["cma"])]
        word = "grows" if gaps[-1] > gaps[0] else "does not grow"
        lines.append(f"MERIT − CMA {word} from the first to the last share: {listing(shares)}")
        lines[0] = f"{'mean of ' * (file['seeds'] > 1)}{seeds_text(file)}: {lines[0]}"
    return f"Beyond the report (linear, mean partial R²), {'; '.join(lines)}." if lines else ""


def carried_over(profile: str, folder: Path | None = None) -> str:
    """Which encoders pretrained on synthetic hearts know more of real ones than the random encoder, as a sentence."""
    lines = []
    for file in files("carried_over", profile, False, folder):
        level = row_of(file, "random", "beyond_linear")
        for name in ordered({row["encoder"] for row in file["over_seeds"]} - {"random"}):
            made, own = (
                row_of(file, name, "beyond_linear", hearts=hearts) for hearts in ("synthetic hearts", "real hearts")
            )
            if made is None or own is None or level is None:
                continue
            gaps = [100 * (made["mean"] - other["mean"]) for other in (level, own)]
            lines.append(f"{look(name).label} {fixed(gaps[0], 1, sign=True)} and {fixed(gaps[1], 1, sign=True)}")
    if not lines:
        return ""
    return (
        "Beyond the report (linear), pretrained on synthetic hearts, in points against the random encoder and against "
        f"the same objective pretrained on real ones: {'; '.join(lines)}. These differences are not paired: read them "
        "with the intervals of the table above."
    )


def _more(file: File, encoder: str, metric: str) -> bool:
    """Whether an encoder's mean lies above MERIT's by more than both their bars."""
    one, merit = (row_of(file, name, metric) for name in (encoder, "merit"))
    if one is None or merit is None:
        return False
    return 100 * (one["mean"] - merit["mean"]) > bar(file, one)[0][0] + bar(file, merit)[1][0]

"""`python -m merit COMMAND`: the command line, made by tyro from these functions' signatures. No logic lives here."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from merit import pool
from merit.config import COHORTS, OBJECTIVE_NAMES, PROFILE_NAMES, SignalConfig
from merit.methods import TRAINED_NAMES

ProfileName = Literal[PROFILE_NAMES]
Cohort = Literal[COHORTS]
Positional = tyro.conf.Positional


def doctor(data: Path) -> None:
    """Say which data sets lie under a folder, complete or in part, what each chapter will be able to show, and which
    encoders of others have their weights at hand.
    """
    from merit.baselines import others
    from merit.data.doctor import describe, examine

    print(describe(examine(data)), others.describe(), sep="\n\n")


def ingest(
    cohort: Cohort, root: Path, out: Path, fs: int = 100, workers: int | None = None, limit: int | None = None
) -> None:
    """Turn a data set's files into a store.

    Args:
        cohort: Which data set.
        root: Its folder, as published.
        out: Folder of the store.
        fs: Sampling rate of the store, Hz.
        workers: Processes; default: one a core.
        limit: Read only the first so many recordings.
    """
    from merit.data.ingest import ingest as run

    store = run(cohort, root, out, signal=SignalConfig(fs_hz=fs), workers=workers, limit=limit)
    if not len(store):
        raise ValueError(store.why_empty)
    counts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in store.manifest["counts"].items())
    print(f"{out}: {len(store.records)} recordings; {counts}")


def data(profile: ProfileName = "demo", data: Path | None = None) -> None:
    """Make the synthetic hospitals (or look at real data), and a store of each data set."""
    from merit.pipeline import Workspace

    workspace = Workspace.open(profile, data)
    for cohort, manifest in workspace.cohorts().items():
        print(f"{cohort}: {manifest if isinstance(manifest, str) else manifest['counts']}")


def pretrain(
    profile: ProfileName = "demo",
    objective: Literal[(*TRAINED_NAMES, "all")] = "all",
    data: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    compiled: bool = False,
    graphs: bool = False,
    attention: Literal["sdpa", "flex"] = "sdpa",
) -> None:
    """Pretrain one objective or all of them; a run that was killed goes on where its last checkpoint is.

    Under torchrun all its processes train one run together. A SIGTERM saves a checkpoint and ends with status 75.

    Args:
        profile: smoke, demo or paper.
        objective: merit (Eq. 7), cma (Eq. 3), ib (Eq. 9), mse (Eq. 5), or all four in turn; or a peer's method on the
            same recordings: st-mem-ours, merl-ours, simclr, clocs.
        data: Folder with real data sets; default: synthetic hospitals.
        seed: Seed of weights, order and masks.
        device: auto, cpu, cuda or cuda:1.
        compiled: Compile the network first (torch.compile): the same numbers but for rounding.
        graphs: Compile it, with its launches recorded as CUDA graphs; a GPU alone.
        attention: sdpa, or flex (FlexAttention), which compiles too; a GPU alone.
    """
    from merit.pipeline import Workspace

    workspace = Workspace.open(profile, data, device)
    workspace.compiled, workspace.graphs, workspace.attention = compiled, graphs, attention
    for folder in workspace.checkpoints(OBJECTIVE_NAMES if objective == "all" else (objective,), (seed,)):
        if os.environ.get("RANK", "0") == "0":
            print(folder)


def evaluate(
    profile: ProfileName = "demo",
    data: Path | None = None,
    tasks: str = "superclass,subclass,form,rhythm,all,cpsc2018,csn",
    encoders: str = "merit,cma,ib,mse,random",
    device: str = "auto",
) -> None:
    """Linear probing of every encoder on every task, a line per result, without the book."""
    from merit.pipeline import Workspace
    from merit.report.lines import result_line

    workspace = Workspace.open(profile, data, device)
    workspace.checkpoints([name for name in encoders.split(",") if name in TRAINED_NAMES])
    for result in workspace.linear_probe(encoders.split(","), tasks.split(",")):
        print(result_line(result["values"]))


def book(profile: ProfileName = "demo", data: Path | None = None, device: str = "auto") -> None:
    """Run every notebook whose inputs changed and build the HTML book; prints where it is."""
    from merit.publish.build import build_book
    from merit.runs import home

    build_book(profile, None if data is None else str(data.resolve()), device, home())


def pdf(profile: ProfileName = "demo", data: Path | None = None, chromium: str = "/usr/bin/chromium") -> None:
    """Print the book that was built to one PDF, by the Chromium of the system."""
    from merit.publish.pdf import make_pdf
    from merit.runs import home

    make_pdf(profile, None if data is None else str(data.resolve()), home(), chromium)


def notebook(
    name: Positional[str],
    profile: ProfileName = "demo",
    data: Path | None = None,
    device: str = "auto",
    p: Annotated[
        tyro.conf.UseAppendAction[list[tuple[str, str]]], tyro.conf.arg(aliases=["-p"], metavar="NAME VALUE")
    ] = [],  # noqa: B006
) -> None:
    """Run one notebook again with other parameters; nothing else is computed again.

    Args:
        name: Name of a notebook in book/, for example table1_linear_probe.
        profile: smoke, demo or paper.
        data: Folder with real data sets; default: synthetic hospitals.
        device: auto, cpu, cuda or cuda:1.
        p: A parameter of the notebook and its value; repeat for more.
    """
    from merit.publish.execute import run_named
    from merit.runs import home

    where = None if data is None else str(data.resolve())
    print(run_named(name, dict(p), profile=profile, data=where, device=device, root=home()))


def reference(
    profile: ProfileName = "demo",
    data: Path | None = None,
    device: str = "auto",
    seeds: int = 5,
    group: Literal["all", "objectives", "equal-budget", "dials", "published"] = "all",
    stages: str = "",
    encoders: str = "",
) -> None:
    """Pretrain and probe every objective at several seeds; write the numbers to book/reference, to be committed.

    Args:
        profile: smoke, demo or paper.
        data: Folder with real data sets; default: synthetic hospitals.
        device: auto, cpu, cuda or cuda:1.
        seeds: Pretraining seeds.
        group: The paper's objectives and strengths, these beside peers' methods on the same data, objectives pretrained
            on other recordings (what is kept), MERIT beside published encoders with weights at hand, or all.
        stages: Which of the group's, separated by commas; default: all of them.
        encoders: Which of the group's, separated by commas; default: all of them.
    """
    from merit.config import one_of
    from merit.pipeline import Workspace
    from merit.pipeline.reference import make_reference
    from merit.pipeline.reference_stages import GROUPS, STAGES
    from merit.runs import home

    workspace, groups = Workspace.open(profile, data, device), tuple(GROUPS) if group == "all" else (group,)
    wanted = stages.split(",") if stages else tuple(STAGES)
    for stage in wanted:
        one_of("stages", stage, tuple(STAGES))
    names = encoders.split(",") if encoders else None
    for name in names or ():
        one_of("encoders", name, tuple(sorted({one for group in groups for one in GROUPS[group].encoders})))
    folder = home() / "book" / "reference"
    paths = make_reference(workspace, seeds, folder, say=print, groups=groups, stages=wanted, encoders=names)
    print(*paths, sep="\n")


def embed(
    files: Positional[tuple[Path, ...]],
    out: Path,
    checkpoint: Path | None = None,
    device: str = "cpu",
    batch: int = 64,
) -> None:
    """Embed WFDB records: a row a file, in a CSV or Parquet table. Exit status 1 where some could not be read.

    Args:
        files: Paths of the records, with or without .hea; any rate and order of leads.
        out: The table, .csv or .parquet.
        checkpoint: A checkpoint's folder; default: the newest one of merit under artifacts/.
        device: cpu, cuda, cuda:1 or auto.
        batch: Recordings at a time.
    """
    from merit.use.files import embed as run

    print(f"{out}: {run(files, out, checkpoint, device=device, batch=batch)} recordings")


def classify(
    files: Positional[tuple[Path, ...]],
    out: Path,
    prompts: str = "superclass",
    checkpoint: Path | None = None,
    text_encoder: str | None = None,
    device: str = "cpu",
    batch: int = 64,
) -> None:
    """Zero-shot scores of WFDB records: cosines, no probabilities. Research only: not a medical device.

    Args:
        files: Paths of the records, with or without .hea; any rate and order of leads.
        out: The table, .csv or .parquet: a row a file, a column a class.
        prompts: A task (superclass, subclass, form, rhythm, all, cpsc2018, csn) or a JSON file of class and text.
        checkpoint: A checkpoint's folder; default: the newest one of merit under artifacts/.
        text_encoder: Folder or hub name of its text encoder, if it is not where the checkpoint says.
        device: cpu, cuda, cuda:1 or auto.
        batch: Recordings at a time.
    """
    from merit.use.files import classify as run

    n_rows = run(files, out, prompts, checkpoint, text_encoder=text_encoder, device=device, batch=batch)
    print(f"{out}: {n_rows} recordings")


def generate(
    checkpoint: Path,
    record: Path,
    question: str | None = None,
    decoding: Literal["greedy", "sampling"] | None = None,
    language_model: Path | None = None,
    device: str = "cpu",
) -> None:
    """Print what an adapted language model writes about a WFDB record. Research only: not a medical device.

    Args:
        checkpoint: A generator's folder, as Table 3 leaves them in artifacts/*/generators/.
        record: Path of the record, with or without .hea.
        question: What is asked, with <ecg> where the recording goes; default: one like those of training.
        decoding: greedy, or sampling at temperature 0.6 and top-p 0.9; default: as its texts in the table were.
        language_model: Folder of the language model, if it no longer lies where it did in training.
        device: cpu, cuda or cuda:1.
    """
    from merit.data.one_record import read_record
    from merit.evaluate.generation.generator import load

    chosen = {} if decoding is None else {"decoding": decoding}
    generator = load(checkpoint, device, language_model=language_model, **chosen)
    text = generator.write(read_record(record), question)
    print("".join(letter if letter.isprintable() else " " for letter in text))


def compare(a: Positional[Path], b: Positional[Path]) -> None:
    """Say what differs between two executed notebooks: parameters, inputs, then numbers."""
    from merit.publish.compare import compare as differences

    print(differences(a, b))


def bench(
    out: Path | None = None,
    data: Path | None = None,
    device: str = "auto",
    stages: str = "updates,ingest,linear_probe",
    compiled: bool = False,
    full: bool = False,
    price_per_hour: float = 3.0,
) -> None:
    """Measure pretraining updates, ingest and probing as ratios in one run; print and, with `out`, write a JSON.

    Args:
        out: File of the JSON.
        data: Folder with real data sets, for ingest and probing; default: synthetic hospitals.
        device: auto, cpu, cuda or cuda:1.
        stages: Which, separated by commas.
        compiled: On a CPU also torch.compile, which takes a minute; a GPU does so anyway.
        full: In place of the stages, six minutes of the paper's network on 745,916 recordings in the GPU's memory.
        price_per_hour: Of such a machine in USD, for the projection of the paper's run; an example.
    """
    from merit.bench import run

    chosen = ["full"] if full else stages.split(",")
    run(out, data, device, chosen, compiled=compiled, price_per_hour=price_per_hour)


COMMANDS = {
    f.__name__: f
    for f in (
        doctor, ingest, data, pretrain, evaluate, book, pdf, notebook, reference, embed, classify, generate, compare,
        bench,
    )
}  # fmt: skip


def main() -> None:
    """Run a command; what a user can mend is one line on stderr and exit status 2 (MERIT_TRACEBACK=1 shows where);
    75 where a cluster's warning (SIGTERM) ended a run that has saved.
    """
    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="merit")
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        if os.environ.get("MERIT_TRACEBACK"):
            raise
        print(f"merit: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one line, however often it comes
        pool.end_workers()
        print("merit: stopped; the same command goes on from what is on disk", file=sys.stderr)
        sys.exit(130)

"""`python -m merit COMMAND`: the command line, made by tyro from these functions' signatures. No logic lives here but
what a user calls a setting, by which errors begin.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import signal
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from merit.config import (
    COHORTS,
    OBJECTIVE_NAMES,
    PROFILE_NAMES,
    SHORT,
    TRAINED_NAMES,
    SignalConfig,
    one_of,
    resolve,
    run_name,
)
from merit.parallel import end_workers, torch_device
from merit.runs import home

if TYPE_CHECKING:
    from merit.studies import Workspace

ProfileName = Literal[PROFILE_NAMES]
Cohort = Literal[COHORTS]
Positional = tyro.conf.Positional


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Options of what reads recordings."""

    profile: ProfileName = "demo"
    """smoke, demo or paper."""
    data: Path | None = None
    """Folder with real data sets; default: synthetic hospitals."""
    set: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """What is changed of the profile: any field by its path, model.mask_ratio=0.5; several with spaces, or repeated."""
    limit: str | None = None
    """Only so many recordings of each data set, the first ones, to try a profile."""

    @property
    def settings(self) -> str:
        """All of `set`."""
        return " ".join(self.set)

    @property
    def where(self) -> str | None:
        """The data folder as the book takes it."""
        return None if self.data is None else str(self.data.resolve())


@dataclass(frozen=True, kw_only=True)
class Trained(Recorded):
    """Options of what pretrains where checkpoints are missing."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    epochs: str | None = None
    """Only so many passes of pretraining, probing and adaptation, to try a profile."""
    text: str | None = None
    """Folder or hub name of the text encoder."""
    backbone: str | None = None
    """vit; or tiny_vit, the other reading of the paper's encoder."""
    text_layers: str | None = None
    """Last layers of the text encoder that are trained too; 0: it is frozen."""
    compiled: bool = False
    """Compile the network first (torch.compile): the same numbers but for rounding."""
    graphs: bool = False
    """Compile it, with its launches recorded as CUDA graphs; a GPU alone."""
    attention: Literal["sdpa", "flex"] | None = None
    """sdpa, or flex (FlexAttention), which compiles too; a GPU alone."""


@dataclass(frozen=True, kw_only=True)
class Scored(Trained):
    """Options of what scores encoders."""

    encoder: str | None = None
    """An encoder of your own, file.py or file.py:Class, in every table."""


@dataclass(frozen=True, kw_only=True)
class Paged(Scored):
    """Options of what makes pages."""

    lm: str | None = None
    """Folder or hub name of Table 3's language model."""
    bert: str | None = None
    """Folder or hub name of what BERTScore compares with."""


def flat(options: type) -> object:
    """The options without a prefix."""
    return Annotated[options, tyro.conf.arg(name="")]


ENVIRONMENT = {
    **{variable.removeprefix("MERIT_").lower(): variable for variable in SHORT},
    **{name: f"MERIT_{name.upper()}" for name in ("encoder", "compiled", "graphs", "attention")},
}
"""Option -> variable of the environment that it sets, which the processes of a run inherit."""
MAKE = {"profile", "data", "device", "settings", "name", "chromium", *ENVIRONMENT}
"""What is a variable of `make` too, by its name in capitals, but for `settings` (SET) and `name` (NB)."""


def opened(run: Recorded, encoders: tuple[str, ...] | list[str] = (), *, text: bool = True) -> Workspace:
    """The workspace of a command, with all that a user gave checked before anything is written.

    encoders: what will be used. text: whether the text encoder will, so that it has to be within reach.
    """
    apply(run)
    from merit.studies import Workspace

    workspace = Workspace.open(run.profile, run.data, getattr(run, "device", "auto"), run.settings)
    trained = isinstance(run, Trained)
    workspace.require(encoders, texts=text and trained, pages=isinstance(run, Paged))
    return workspace


def apply(run: Recorded) -> None:
    """Put the options into the environment, where notebooks and other processes find them; check those of `SHORT`."""
    for option in ENVIRONMENT.keys() & {field.name for field in fields(run)}:
        value = getattr(run, option)
        if value not in (None, False):
            os.environ[ENVIRONMENT[option]] = "1" if value is True else value
            _given.add(option)
    resolve(run.profile, run.settings)


_given: set[str] = set()
"""Options that this process was given, among `ENVIRONMENT`."""


def in_users_words(error: str) -> str:
    """An error's line, which begins with a setting's name, under what the user calls that: an option, or make's."""
    name, colon, rest = error.partition(": ")
    short = {variable: option for option, variable in ENVIRONMENT.items()}.get(name)
    by_make = os.environ.get("MERIT_MAKE")
    if not colon:
        return error
    if short is not None and (by_make or short in _given):
        name = f"--{short.replace('_', '-')}" if short in _given else short.upper()
    elif name in MAKE and by_make:
        name = {"settings": "SET", "name": "NB"}.get(name, name.upper())
    elif name in OPTIONS:
        name = f"--{RENAMED.get(name, name).replace('_', '-')}"
    return f"{name}{colon}{rest}"


RENAMED = {"fs_hz": "fs", "settings": "set", "encoder": "encoders"}
OPTIONS = {"batch", "chromium", "data", "device", "encoders", "limit", "price_per_hour", "profile", "seed", "seeds"}
OPTIONS |= {"stages", "tasks", "workers", *RENAMED}
"""What an error calls them and the user gave as options, which `RENAMED` have another name."""


def require_least(least: int, **values: int | None) -> None:
    """ValueError for a whole number below `least`; None: not given."""
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(f"{name}: expected a whole number from {least}; got {value}")


def comma_separated(name: str, text: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """What a text names, separated by commas; at least one, all of `allowed`."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise ValueError(f"{name}: expected one at least, separated by commas; got {text!r}")
    for item in items if allowed else ():
        one_of(name, item, allowed)
    return items


def doctor(data: Path, profile: ProfileName = "paper", device: str = "auto") -> None:
    """Say which data sets lie under a folder, complete or in part, what each chapter will be able to show, which
    encoders of others have their weights at hand, and whether this machine can run a profile: device, memory, disk,
    models of the hub, hours. Quick; nothing is written or downloaded.
    """
    from merit.bench import readiness
    from merit.data.doctor import describe, examine
    from merit.encoders import registry

    cohorts = examine(data)
    print(describe(cohorts), registry.describe(), readiness.describe(cohorts, profile, data, device), sep="\n\n")


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

    require_least(1, workers=workers, limit=limit)
    store = run(cohort, root, out, signal=SignalConfig(fs_hz=fs), workers=workers, limit=limit)
    if not len(store):
        raise ValueError(store.why_empty)
    counts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in store.manifest["counts"].items())
    print(f"{out}: {len(store.records)} recordings; {counts}")


def data(run: flat(Recorded) = Recorded()) -> None:
    """Make the synthetic hospitals (or look at real data), and a store of each data set."""
    for cohort, manifest in opened(run).cohorts().items():
        print(f"{cohort}: {manifest if isinstance(manifest, str) else manifest['counts']}")


def pretrain(
    run: flat(Trained) = Trained(), objective: Literal[(*TRAINED_NAMES, "all")] = "all", seed: int | None = None
) -> None:
    """Pretrain one objective or all of them; a run that was killed goes on where its last checkpoint is.

    Under torchrun all its processes train one run together. A SIGTERM saves a checkpoint and ends with status 75.

    Args:
        objective: merit (Eq. 7), cma (Eq. 3), ib (Eq. 9), mse (Eq. 5), or all four in turn; cma-whole, CMA without a
            mask; or a peer's method on the same recordings: st-mem-ours, merl-ours, simclr, clocs.
        seed: Seed of weights, order and masks; default: the profile's, 0.
    """
    names = OBJECTIVE_NAMES if objective == "all" else (objective,)
    require_least(0, seed=seed)
    workspace = opened(run, names)
    number = 0 if seed is None else seed - workspace.profile.pretrain.seed
    for folder in workspace.checkpoints(names, (number,)):
        if os.environ.get("RANK", "0") == "0":
            print(folder)


def evaluate(
    run: flat(Scored) = Scored(),
    tasks: str = "superclass,subclass,form,rhythm,all,cpsc2018,csn",
    encoders: str = "merit,cma,ib,mse,random",
) -> None:
    """Linear probing of every encoder on every task, a line per result, without the book.

    Args:
        tasks: Which, separated by commas.
        encoders: Which, separated by commas.
    """
    from merit.data.taxonomy import TASKS
    from merit.studies.probing import linear_probe, lines

    wanted, names = comma_separated("tasks", tasks, tuple(TASKS)), comma_separated("encoders", encoders)
    workspace = opened(run, names)
    workspace.checkpoints([name for name in names if workspace.trains(name)])
    for task in wanted:
        for name in names:
            print("\n".join(lines(linear_probe(workspace, name, task))))


def book(run: flat(Paged) = Paged()) -> None:
    """Run every notebook whose inputs changed and build the HTML book; prints where it is."""
    from merit.publish.build import build_book

    opened(run, OBJECTIVE_NAMES)
    build_book(run.profile, run.where, run.device, home(), run.settings)


def pdf(run: flat(Paged) = Paged(), chromium: str = "/usr/bin/chromium") -> None:
    """Print the book that was built to one PDF, by the Chromium of the system.

    Args:
        chromium: The browser.
    """
    from merit.publish.build import make_pdf

    apply(run)
    make_pdf(run.profile, run.where, home(), chromium, run.settings)


def notebook(
    name: Positional[str],
    run: flat(Paged) = Paged(),
    p: Annotated[
        tyro.conf.UseAppendAction[list[tuple[str, str]]], tyro.conf.arg(aliases=["-p"], metavar="NAME VALUE")
    ] = [],  # noqa: B006
) -> None:
    """Run one notebook again with other parameters; nothing else is computed again.

    Args:
        name: Name of a notebook in book/, for example table1_linear_probe.
        p: A parameter of the notebook and its value; repeat for more.
    """
    from merit.publish.execute import run_named, source_of

    given = dict(p)
    source_of(name, home())
    names = [name for key in ("encoders", "objectives") for name in given.get(key, "").split(",") if name]
    opened(run, names, text=False)
    common = {"profile": run.profile, "data": run.where, "device": run.device, "settings": run.settings}
    print(run_named(name, given, common, home()))


def reference(
    run: flat(Paged) = Paged(),
    seeds: int = 5,
    group: Literal["all", "objectives", "equal-budget", "dials", "real", "frontier", "networks", "published"] = "all",
    stages: str = "",
    encoders: str = "",
) -> None:
    """Pretrain and probe every objective at several seeds; write the numbers to book/reference, to be committed.

    With other settings than the profile's the files go to artifacts/<run>/reference.

    Args:
        seeds: Pretraining seeds.
        group: The paper's objectives, strengths and CMA without a mask; these beside peers' methods on the same data;
            objectives pretrained on other recordings (what is kept); objectives on real recordings, cross-fitted in
            five rotations of PTB-XL's folds; other weights of the masked error, likewise; networks times objectives,
            likewise; MERIT beside published encoders with weights at hand; or all.
        stages: Which of the group's, separated by commas; default: all of them.
        encoders: Which of the group's, separated by commas; default: all of them.
    """
    from merit.studies.reference import GROUPS, STUDIES, make_reference

    require_least(1, seeds=seeds)
    groups = tuple(GROUPS) if group == "all" else (group,)
    known = tuple(dict.fromkeys(encoder for group in groups for encoder in GROUPS[group].encoders))
    wanted = comma_separated("stages", stages, tuple(STUDIES)) if stages else tuple(STUDIES)
    names = comma_separated("encoders", encoders, known) if encoders else None
    workspace = opened(run, names or known)
    own = home() / "artifacts" / run_name(workspace.profile, run.data) / "reference"
    folder = own if workspace.settings else home() / "book" / "reference"
    paths = make_reference(workspace, seeds, folder, log=print, groups=groups, studies=wanted, encoders=names)
    print(*paths, sep="\n")


@dataclass(frozen=True, kw_only=True)
class Read:
    """Options of what reads WFDB records."""

    files: Positional[tuple[Path, ...]]
    """Paths of the records, with or without .hea; any rate and order of leads."""
    out: Path
    """The table, .csv or .parquet: one row per file."""
    checkpoint: Path | None = None
    """A checkpoint's folder; default: the newest one of merit under artifacts/."""
    device: str = "cpu"
    """cpu, cuda, cuda:1 or auto."""
    batch: int = 64
    """Recordings at a time."""

    def arguments(self) -> dict[str, object]:
        """What is the same for all of them, checked."""
        if not self.files:
            raise ValueError("files: expected the paths of records; got none")
        require_least(1, batch=self.batch)
        return {name: getattr(self, name) for name in ("files", "out", "checkpoint", "device", "batch")}


def embed(run: flat(Read)) -> None:
    """Embed WFDB records, into a CSV or Parquet table. Exit status 1 where some could not be read."""
    from merit.use.files import embed as write

    print(f"{run.out}: {write(**run.arguments())} recordings")


def classify(run: flat(Read), prompts: str = "superclass", text_encoder: str | None = None) -> None:
    """Zero-shot scores of WFDB records, one column per class: cosines, no probabilities. Research only: not a medical
    device.

    Args:
        prompts: A task (superclass, subclass, form, rhythm, all, cpsc2018, csn) or a JSON file of class and text.
        text_encoder: Folder or hub name of its text encoder, if it is not where the checkpoint says.
    """
    from merit.use.files import classify as write

    n_rows = write(**run.arguments(), prompts=prompts, text_encoder=text_encoder)
    print(f"{run.out}: {n_rows} recordings")


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
        device: cpu, cuda, cuda:1 or auto.
    """
    from merit.data.wfdb_io import read_record
    from merit.evaluate.generation.generator import Generator

    chosen = {} if decoding is None else {"decoding": decoding}
    generator = Generator(checkpoint, torch_device(device), language_model=language_model, **chosen)
    text = generator.write(read_record(record), question)
    print("".join(letter if letter.isprintable() else " " for letter in text))


def compare(a: Positional[Path], b: Positional[Path]) -> None:
    """Say what differs between two executed notebooks: parameters, inputs, then numbers."""
    from merit.publish.execute import compare as differences

    print(differences(a, b))


def bench(
    out: Path | None = None,
    data: Path | None = None,
    device: str = "auto",
    stages: str = "updates,ingest,linear_probe,kept",
    compiled: bool = False,
    full: bool = False,
    price_per_hour: float = 3.0,
) -> None:
    """Measure pretraining updates, ingest and probing as ratios in one run, and what is kept at PTB-XL's size; print
    and, with `out`, write a JSON.

    Args:
        out: File of the JSON.
        data: Folder with real data sets, for ingest and probing; default: synthetic hospitals.
        device: auto, cpu, cuda or cuda:1.
        stages: Which, separated by commas.
        compiled: On a CPU also torch.compile, which takes a minute; a GPU does so anyway.
        full: In place of the stages, six minutes of the paper's network on 745,916 recordings in the GPU's memory.
        price_per_hour: Of such a machine in USD, for the projection of the paper's run; an example.
    """
    from merit.bench.measure import run

    if not 0 < price_per_hour < float("inf"):
        raise ValueError(f"price_per_hour: expected a number above 0; got {price_per_hour}")
    chosen = ["full"] if full else stages.split(",")
    run(out, data, device, chosen, compiled=compiled, price_per_hour=price_per_hour)


READING = (doctor, ingest, data, pretrain, evaluate, book, pdf, notebook, reference)
COMMANDS = {f.__name__: f for f in (*READING, embed, classify, generate, compare, bench)}


def parse(arguments: list[str]) -> functools.partial:
    """The command that the arguments ask for, not yet called; ends with one line and status 2 where they are wrong."""

    def later(command: object) -> object:
        return functools.wraps(command)(lambda *args, **kwargs: functools.partial(command, *args, **kwargs))

    box, commands = io.StringIO(), {name: later(command) for name, command in COMMANDS.items()}
    try:
        with contextlib.redirect_stderr(box):
            return tyro.extras.subcommand_cli_from_dict(commands, prog="merit", args=arguments)
    except SystemExit as error:
        lines = [line.strip("│| ") for line in box.getvalue().splitlines()[1:]]  # a title, the message, a rule, help
        rules = [number for number, line in enumerate(lines) if line and set(line) <= set("─-") and number]
        if error.code and rules:
            text = " ".join(lines[: rules[0]]).strip("─- ").removesuffix(".")
            if os.environ.get("MERIT_MAKE"):
                text = re.sub(r"'--(profile|attention)'", lambda option: option[1].upper(), text)
            print(f"merit: {text}; see merit --help", file=sys.stderr)
        elif error.code:
            print(box.getvalue(), file=sys.stderr)
        raise


def main() -> None:
    """Run a command; what a user can mend is one line on stderr and exit status 2 (MERIT_TRACEBACK=1 shows where);
    75 where a cluster's warning (SIGTERM) ended a run that has saved.
    """
    try:
        parse(sys.argv[1:])()
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        if os.environ.get("MERIT_TRACEBACK"):
            raise
        print(f"merit: {in_users_words(str(error))}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one line, however often it comes
        end_workers()
        print("merit: stopped; the same command goes on from what is on disk", file=sys.stderr)
        sys.exit(130)

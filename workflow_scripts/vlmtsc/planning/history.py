"""Earlier runs, as a results folder holds them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vlmtsc.files import read_json
from vlmtsc.planning.cost_model import LEARNT_FROM, Measured, spread_out
from vlmtsc.planning.work import STEPS, Length, control_passes, planned_length, work_of


@dataclass(frozen=True)
class EarlierRun:
    """A finished run: what it was, and what it cost.

    Attributes
    ----------
    name : str
        ``{model}/{dataset}/{protocol}/{scenario}/seed-{seed}``.
    results : Path
        Folder it lies in.
    device : str
        Name of its GPU, or of the processor.
    threads : int
    cases, tokens : dict
        Of one pass over train, validation and test.
    planned, done : Length
        How long training was allowed to be, and was.
    temperature : bool
        Whether its evaluation passed the validation part.
    controls : int or None
        Passes over the test part that its controls took; None if it has none.
    seconds : dict of str to float
        Wall time by step, where it was measured.
    digest : str
        Of the training (`training_digest`), which tells it from another one of the same name.
    """

    name: str
    results: Path
    device: str
    threads: int
    cases: dict[str, int]
    tokens: dict[str, float]
    planned: Length
    done: Length
    temperature: bool
    controls: int | None
    seconds: dict[str, float]
    digest: str = ""

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.name.partition("/")[0]

    def measured(self, epochs: float | None = None) -> Measured:
        """Return what it cost; with other `epochs`, what is then to be predicted."""
        work = work_of(
            self.cases,
            self.tokens,
            self.done.epochs if epochs is None else epochs,
            temperature=self.temperature,
            controls=self.controls,
        )
        features = {step: found for step in STEPS if (found := work.features(step)) is not None}
        return Measured(features, self.seconds)


def device_of(hardware: Mapping[str, Any]) -> str:
    """Name what computes: the first GPU, or the processor."""
    gpus = hardware.get("gpus") or []
    return str(gpus[0] if gpus else hardware.get("processor", "unknown"))


def benchmark_seconds(path: Path) -> float | None:
    """Return the wall time that Snakemake has measured; None if there is none."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    try:
        return float(rows[-1]["s"])
    except (IndexError, KeyError, ValueError):  # cut off, or "NA" of a job that ended at once
        return None


def budget_of(results: Path, name: str) -> dict[str, Any] | None:
    """Return ``budget.json`` of a run's scenario; None if its conversations are not there."""
    path = results / "conversations" / Path(name).parent / "budget.json"
    return read_json(path) if path.exists() else None


def passes_of(budget: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, float]]:
    """Return the cases and tokens of one pass over each part, from the content of a ``budget.json``."""
    parts = budget["tokens"]
    cases = {part: int(counts["cases"]) for part, counts in parts.items()}
    return cases, {part: float(counts["mean"]) * cases[part] for part, counts in parts.items()}


def read_earlier_run(results: Path, name: str) -> EarlierRun | None:
    """Read a finished run; None if it took another's training, or something is missing that tells its work."""
    folder = results / "runs" / name
    files = [folder / file for file in ("run_record.json", "parameters.json")]
    budget = budget_of(results, name)
    if budget is None or not all(path.exists() for path in files):
        return None
    record, parameters = (read_json(path) for path in files)
    if record.get("shared_with") or "wall_seconds" not in record:
        return None
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
    cases, tokens = passes_of(budget)
    seconds = {
        step: found
        for step in STEPS
        if (found := benchmark_seconds(results / "benchmarks" / step / f"{name}.tsv")) is not None
    }
    # An interrupted training's record has the time before the interruption, too.
    seconds["finetune_model"] = max(seconds.get("finetune_model", 0.0), float(record["wall_seconds"]))
    planned = planned_length(cases["train"], tokens["train"], record["settings"])
    stopped = record["stopped_by"] == "early_stopping"
    return EarlierRun(
        name=name,
        results=results,
        device=device_of(record["hardware"]),
        threads=int(record["hardware"]["threads"]),
        cases=cases,
        tokens=tokens,
        planned=planned,
        done=Length(float(record["epochs_done"]), planned.patience, stopped),
        temperature="temperature_cases" in metrics,
        controls=(
            control_passes(parameters["representation"]["scenario"]["modality"])
            if "evaluate_controls" in seconds
            else None
        ),
        seconds=seconds,
        digest=str(record.get("training_digest", "")),
    )


def earlier_runs(folders: Sequence[Path], number: int = LEARNT_FROM) -> list[EarlierRun]:
    """Read the finished runs of results folders: of each model at most `number`, spread over all of them.

    A folder that stands twice counts once.
    """
    names: dict[str, list[tuple[Path, str]]] = {}
    for results in {folder.resolve(): folder for folder in folders}.values():
        for record in sorted((results / "runs").glob("*/*/*/*/seed-*/run_record.json")):
            name = record.parent.relative_to(results / "runs").as_posix()
            names.setdefault(name.partition("/")[0], []).append((results, name))
    chosen = [place for places in names.values() for place in spread_out(places, number)]
    return [run for results, name in chosen if (run := read_earlier_run(results, name)) is not None]


def earlier_steps(folders: Sequence[Path], step: str, number: int = LEARNT_FROM) -> list[Measured]:
    """Read what a step that belongs to no run has cost: by its start, and the cases of its dataset."""
    measured = []
    for results in {folder.resolve(): folder for folder in folders}.values():
        places = sorted((results / "benchmarks" / step).rglob("*.tsv"))
        for path in spread_out(places, number):
            seconds = benchmark_seconds(path)
            parts = path.relative_to(results / "benchmarks" / step).parts
            cases = dataset_cases(results, parts[1] if step == "build_conversations" else parts[0])
            if seconds is not None:
                features = (1.0, float(cases or 0))
                measured.append(Measured({step: features}, {step: seconds}))
    return measured


@cache
def dataset_cases(results: Path, dataset: str) -> int | None:
    """Return the cases of a dataset that is there."""
    path = results / "datasets" / dataset / "facts.json"
    return int(read_json(path)["n_cases"]) if path.exists() else None

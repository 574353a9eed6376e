"""Runs, for rules and handlers: pairs, scenarios of a dataset, what is left to do, what a call has done."""

from __future__ import annotations

import csv
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tabulate import tabulate

from vlmtsc.configuration import Configuration
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.settings import Correction

#: Steps of a run in their order, and the file that each one completes.
STEPS = {
    "finetune_model": "run_record.json",
    "evaluate_model": "metrics.json",
}
#: Upper estimate of a prompt's tokens before conversations exist: image, text and statistics; each value.
TOKENS_PER_CASE, TOKENS_PER_VALUE = 700, 8
#: Faults that change nothing on some datasets, which the conversations show. The others always change something, or act
#: after conversations are built.
MAY_CHANGE_NOTHING = ("merged_labels", "first_case_factor")
DONE, FAILED, NOT_RUN = "done", "failed", "not run"
#: Time and level of a message in a script's log.
_STAMP = re.compile(r"^\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
COLUMNS = ("model", "dataset", "scenario", "seed", "state", "jobs", "samples", "tokens", "minutes")


@dataclass(frozen=True)
class Budget:
    """Cases and tokens of one pass over each set (train, validation, test), image tokens included.

    Until the conversations are `built`, tokens are an upper estimate.
    """

    cases: dict[str, int]
    tokens: dict[str, float]
    built: bool = True

    def work(self, epochs: float, temperature: bool) -> dict[str, float]:
        """Units of work of each step: tokens of all passes, without those of controls.

        Training passes the validation set at the end of each epoch, evaluation passes it to fit a temperature.
        """
        validation = self.tokens["validation"]
        return {
            "finetune_model": self.tokens["train"] * epochs + validation * math.ceil(round(epochs, 3)),
            "evaluate_model": self.tokens["test"] + (validation if temperature else 0),
        }


@dataclass(frozen=True)
class PlannedRun:
    """A run and what is left to do of it.

    `missing` are the steps to do, all of them if the run is `stale`: trained with another recipe. `budget` is None for
    a dataset of unknown size. `epochs` are those at most, since early stopping may end training. `seconds` of the
    missing steps are None if the throughput of one of them is unknown.
    """

    run: Run
    missing: tuple[str, ...]
    budget: Budget | None
    epochs: float
    seconds: float | None
    stale: bool = False

    def training(self, of: Mapping[str, float]) -> float:
        """Cases or tokens shown in training, if that is still to do."""
        return of["train"] * self.epochs if "finetune_model" in self.missing else 0.0


def set_sizes(train: int, test: int, protocol: str, validation_share: float) -> dict[str, int]:
    """Sizes of the three sets from those of the official two, rounded as scikit-learn's ``train_test_split`` does."""
    if protocol != "official":  # 60/20/20
        total = train + test
        test = math.ceil(total / 5)
        train, validation_share = total - test, 0.25
    validation = math.ceil(train * validation_share)
    return {"train": train - validation, "validation": validation, "test": test}


def read_budget(path: Path) -> Budget | None:
    """Read a scenario's ``budget.json``; None if its conversations do not exist."""
    if not path.exists():
        return None
    sets = read_json(path)["tokens"]
    cases = {name: int(counts["cases"]) for name, counts in sets.items()}
    return Budget(cases, {name: float(counts["total"]) for name, counts in sets.items()})


def step_seconds(path: Path) -> float | None:
    """Seconds in a benchmark file of Snakemake; None if they were not measured."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file, delimiter="\t"), {})
    try:
        seconds = float(row.get("s") or "nan")
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def throughputs(results: str) -> dict[tuple[str, str], float]:
    """Units of work per second (`Budget.work`) of the finished runs in a results folder, by model and step.

    Runs that reused another run's training do not count.
    """
    paths = Paths(results)
    sums: dict[tuple[str, str], list[float]] = {}
    for file in sorted(Path(results, "runs").glob("*/*/*/*/seed-*/run_record.json")):
        record = read_json(file)
        model, dataset, protocol, scenario = file.relative_to(Path(results, "runs")).parts[:4]
        run = Run(model, dataset, protocol, scenario, int(record["seed"]))
        budget = read_budget(Path(paths.conversations(run), "budget.json"))
        if budget is None or record.get("shared_with"):
            continue
        metrics = file.with_name("metrics.json")
        temperature = metrics.exists() and "temperature_cases" in read_json(metrics)
        work = budget.work(float(record["epochs_done"]), temperature)
        for step in STEPS:
            seconds = step_seconds(Path(paths.benchmark(step, str(run))))
            if step == "finetune_model":  # the record also counts the time before an interruption
                seconds = float(record["wall_seconds"])
            if seconds:
                done = sums.setdefault((run.model, step), [0.0, 0.0])
                done[0] += work[step]
                done[1] += seconds
    return {key: work / seconds for key, (work, seconds) in sums.items()}


def plan_runs(configuration: Configuration, sizes: Mapping[str, Mapping[str, int]]) -> list[PlannedRun]:
    """List the configured runs with what is left to do; `sizes` are those of the sets of a user's datasets."""
    paths, evaluate = Paths(configuration.results), configuration.evaluate
    speeds = throughputs(configuration.results)

    @cache
    def budget_of(model: str, dataset: str, protocol: str, scenario: str) -> Budget | None:
        built = read_budget(
            Path(paths.conversations(Run(model, dataset, protocol, scenario, 0)), "budget.json")
        )
        row = configuration.dataset_table.get(dataset)
        cases = dict(sizes.get(dataset, {}))
        if built or row is None:
            return built
        if not cases:
            if row.train_size is None or row.test_size is None:
                return None
            cases = set_sizes(row.train_size, row.test_size, protocol, configuration.split.validation_share)
        context = configuration.scenario_table[scenario].context_length
        values = (row.length or 0) * (row.channels or 0)
        tokens = min(context, TOKENS_PER_CASE + TOKENS_PER_VALUE * values) if values else context
        return Budget(cases, {name: float(tokens * count) for name, count in cases.items()}, built=False)

    planned = []
    for run in configuration.runs():
        steps, recipe = list(STEPS), configuration.finetune_settings(run.model, run.seed, run.scenario)
        record = Path(paths.run(run), STEPS[steps[0]])
        stale = record.exists() and read_json(record).get("settings") != recipe.model_dump(mode="json")
        missing = [step for step in steps if stale or not Path(paths.run(run), STEPS[step]).exists()]
        missing = steps[steps.index(missing[0]) :] if missing else []  # downstream steps rerun too
        budget = budget_of(run.model, run.dataset, run.protocol, run.scenario)
        epochs, seconds = 0.0, None
        if budget is not None:
            row = configuration.dataset_table.get(run.dataset)
            classes = row.classes if row is not None else None
            epochs = recipe.epochs
            if most_tokens := recipe.most_tokens(classes or 1):
                epochs = min(epochs, most_tokens / max(1.0, budget.tokens["train"]))
            epochs = 0.0 if recipe.method == "none" else epochs
            if configuration.shown_plot(run.scenario) is not None and classes:
                most = recipe.most_cases(classes)
                epochs = min(epochs, most / budget.cases["train"]) if most else epochs
            work = budget.work(epochs, evaluate.temperature)
            if all((run.model, step) in speeds for step in missing):
                seconds = sum(work[step] / speeds[run.model, step] for step in missing)
        planned.append(PlannedRun(run, tuple(missing), budget, epochs, seconds, stale))
    return planned


def plan_table(planned: Sequence[PlannedRun]) -> str:
    """Lay out the runs, the sum of what is left, and what is not known."""
    todo = [entry for entry in planned if entry.missing]
    sized = [entry for entry in todo if entry.budget]
    timed = [entry for entry in todo if entry.seconds is not None]
    counts = [sum(len(entry.missing) for entry in todo)]
    counts += [
        round(sum(entry.training(getattr(entry.budget, of)) for entry in sized)) for of in ("cases", "tokens")
    ]
    minutes = f"{sum(entry.seconds or 0.0 for entry in timed) / 60:.1f}" if timed or not todo else "?"
    total = ["total", "", "", "", f"{len(todo)} to run", *map(str, counts), minutes]
    left = COLUMNS.index("jobs")
    rows = tabulate(
        [COLUMNS, *map(_row, planned), total],
        tablefmt="plain",
        disable_numparse=True,
        colalign=["left"] * left + ["right"] * (len(COLUMNS) - left),
    )
    notes = list(_notes(todo))
    if len(todo) < len(planned):
        notes.append(
            "Done: with this recipe. What a change of code, data or tables repeats, only snakemake -n lists."
        )
    return "\n".join([rows, *notes])


def _row(entry: PlannedRun) -> list[str]:
    run = [entry.run.model, entry.run.dataset, entry.run.scenario, str(entry.run.seed)]
    if not entry.missing:
        return [*run, DONE, "", "", "", ""]
    counts = ["?", "?"]
    if entry.budget:
        counts = [f"{entry.training(of):.0f}" for of in (entry.budget.cases, entry.budget.tokens)]
    minutes = "?" if entry.seconds is None else f"{entry.seconds / 60:.1f}"
    state = "out of date" if entry.stale else NOT_RUN
    return [*run, state, str(len(entry.missing)), *counts, minutes]


def _notes(todo: Sequence[PlannedRun]) -> Iterable[str]:
    """State what the figures rest on and what is unknown."""
    if not todo:
        return
    yield "Samples and tokens are those of training, at most: early stopping may end it."
    estimated = sum(entry.budget is not None and not entry.budget.built for entry in todo)
    if estimated:
        yield f"Tokens of {estimated} runs: upper estimate, since their conversations do not exist yet."
    if unknown := sorted({entry.run.dataset for entry in todo if entry.budget is None}):
        yield f"Samples, tokens and time unknown, since the dataset table has no sizes: {', '.join(unknown)}."
    if untimed := sorted({entry.run.model for entry in todo if entry.budget and entry.seconds is None}):
        yield f"Time unknown, since the results folder has no finished run of the model: {', '.join(untimed)}."
    if any(entry.seconds is not None for entry in todo):
        yield "Minutes are those of these jobs one after the other, from the throughput of finished runs."


@dataclass(frozen=True)
class Pair:
    """A row of the table of corrections: a fault, its two runs, and whether the configuration asks for them."""

    switch: str
    without: Run
    with_fault: Run
    run: bool

    @property
    def runs(self) -> tuple[Run, Run]:
        """The run without the fault and the run with it."""
        return self.without, self.with_fault


def correction_pairs(
    corrections: Iterable[Correction], models: Iterable[str], protocol: str, seeds: Iterable[int]
) -> list[Pair]:
    """Return all combinations of models, datasets named by any correction, corrections and seeds.

    A correction is run on its own datasets; on the others a row states that it is not.
    """
    corrections, seeds = list(corrections), list(seeds)
    datasets = dict.fromkeys(name for correction in corrections for name in correction.datasets)
    return [
        Pair(
            switch=correction.switch,
            without=Run(model, dataset, protocol, correction.scenario, seed),
            with_fault=Run(model, dataset, protocol, f"{correction.scenario}__{correction.switch}", seed),
            run=dataset in correction.datasets,
        )
        for model in models
        for dataset in datasets
        for correction in corrections
        for seed in seeds
    ]


def run_states(dag: Any, failed: Iterable[Any], runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return each run's key, status, and of a failed one the rule that failed before it and the reason.

    `failed` are failed jobs of the `dag`, and groups of jobs, which fail as a whole.
    """
    causes = {job: job for entry in failed for job in getattr(entry, "jobs", [entry])}
    evaluations = {
        Run(**{**job.wildcards_dict, "seed": int(job.wildcards.seed)}): job
        for job in dag.jobs
        if job.rule.name == "evaluate_model"
    }

    def cause(job: Any) -> Any:
        # The failed job that a job has waited for, if any. Each job is visited once.
        if job not in causes:
            before = () if dag.noneedrun_finished(job) else dag.dependencies[job]
            causes[job] = next(filter(None, map(cause, before)), None)
        return causes[job]

    states, reasons = [], {}
    for run in runs:
        state = {**vars(run), "status": DONE, "step": "", "reason": ""}
        job = evaluations.get(Run(**vars(run)))
        if job is not None and not dag.noneedrun_finished(job):
            state["status"] = NOT_RUN
            if first := cause(job):
                # Many runs may wait for one job: its log is read once.
                if first not in reasons:
                    reasons[first] = last_line(Path(first.log[0])) if first.log else ""
                state |= {"status": FAILED, "step": first.rule.name, "reason": reasons[first]}
        states.append(state)
    return states


def last_line(log: Path) -> str:
    """Return a log's last line that is not empty, without time and level; say so if there is none or it is no error."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"no log {log}"
    written = [line.strip() for line in lines if line.strip()]
    if not written:
        return f"empty log {log}"
    stamp, message = _STAMP.match(written[-1]), _STAMP.sub("", written[-1])
    # Killed by a limit of time or memory, or by the end of the whole call.
    return f"ended without an error, after: {message}" if stamp and stamp[1] in ("DEBUG", "INFO") else message


@dataclass(frozen=True)
class CaseScenario:
    """A scenario of one model on a dataset, with name and folder of the plots that it shows, empty if none."""

    model: str
    scenario: str
    seeds: tuple[int, ...]
    plot: str = ""
    plots: str = ""
    downsampled: bool = False


def case_scenarios(
    runs: Sequence[Run], configuration: Configuration, plots_of: Callable[[Run], str | Sequence[str]]
) -> list[CaseScenario]:
    """Return the scenarios of the runs on one dataset; `plots_of` returns the folder of the plots that a run shows."""
    seeds: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        seeds.setdefault((run.model, run.scenario), []).append(run)
    return [
        CaseScenario(
            model,
            scenario,
            tuple(run.seed for run in of_scenario),
            configuration.shown_plot(scenario) or "",
            str(plots_of(of_scenario[0]) or ""),
            configuration.downsamples(scenario),
        )
        for (model, scenario), of_scenario in seeds.items()
    ]


def scenario_titles(scenarios: Sequence[CaseScenario]) -> list[str]:
    """Name scenarios, with their model where there are several."""
    several = len({shown.model for shown in scenarios}) > 1
    return [f"{shown.scenario} ({shown.model})" if several else shown.scenario for shown in scenarios]


def results_summary(results: Path, tables: Sequence[str]) -> str:
    """Return tables in Markdown, followed by the paths of the results.

    Raises
    ------
    InputError
        If a table does not exist.
    """
    texts, places = [], []
    for name in tables:
        table = results / "tables" / f"{name}.md"
        if not table.exists():
            raise InputError(
                f"{table}: not found; run the workflow first (make results, or snakemake --cores all)"
            )
        also = sorted(path.suffix for path in table.parent.glob(f"{name}.*") if path != table)
        texts.append(f"\n{table.read_text(encoding='utf-8')}")
        places.append(f"{table} (also {', '.join(also)})")
    texts.append(f"Table:    {', '.join(places)}")
    # These need no run.
    if not {"ledger", "baselines"}.issuperset(tables):
        report = results / "report.html"
        texts += [
            f"All runs: {results / 'tables' / 'runs.csv'}",
            f"Figure:   {results / 'figures' / 'accuracy_heatmap.png'} (and others in this folder)",
            f"Report:   {report} (make results writes it; without make: snakemake --report {shlex.quote(str(report))})",
        ]
    return "\n".join(texts)

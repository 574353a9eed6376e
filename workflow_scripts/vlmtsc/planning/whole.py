"""The whole of a configuration: every run, the steps around them, and how long all take on so many cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from vlmtsc.baselines.plan import baseline_keys
from vlmtsc.configuration import Configuration, Run
from vlmtsc.planning.cost_model import ASSUMED, learn_costs
from vlmtsc.planning.forecast import Forecaster, Prediction
from vlmtsc.planning.history import benchmark_seconds, dataset_cases, earlier_steps
from vlmtsc.planning.schedule import Job, wall_seconds
from vlmtsc.planning.tokens import TokenSource
from vlmtsc.planning.work import STEPS, control_passes, part_sizes

#: Files that say that a step of a run is done.
OUTPUTS = {
    "finetune_model": "run_record.json",
    "evaluate_model": "metrics.json",
    "evaluate_controls": "controls.csv",
}
#: Rules that turn runs into tables and figures: of each model and dataset, of all; seconds assumed of each.
COLLECTING = ("collect_ledger", "predict_time", "collect_runs", "collect_controls", "compare_methods")
WRITING = (
    *("write_ledger", "write_tables", "draw_figures", "report_controls", "write_comparisons"),
    *("report_predicted_time", "write_evidence"),
)
ASSUMED_TABLE = 1.0
#: Prepared before training, as the rules' priority has it.
FIRST = 10


@dataclass(frozen=True)
class PlannedRun:
    """A run, what is left to do of it, and what that costs.

    Attributes
    ----------
    run : Run
    missing : tuple of str
        Steps that are to do; empty for a run that is done.
    prediction : Prediction or None
        None for a dataset of unknown size.
    tokens_from : str
        Where its tokens come from (`Told`).
    """

    run: Run
    missing: tuple[str, ...]
    prediction: Prediction | None
    tokens_from: str = ""

    @property
    def seconds(self) -> float:
        """Of what is to do; 0 where that is not known."""
        return sum(self.prediction.seconds[step] for step in self.missing) if self.prediction else 0.0


@dataclass
class Whole:
    """Everything that is to do.

    Attributes
    ----------
    runs : list of PlannedRun
    around : dict of str to list of float
        Seconds of each job of the steps around the runs, by step.
    uncounted : dict of str to int
        Jobs whose time is not known, by step.
    jobs : list of Job
        All that are counted.
    models : list of str
        Of each job, the model of the run that it belongs to; empty for steps around the runs.
    """

    runs: list[PlannedRun]
    around: dict[str, list[float]] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @property
    def sum_seconds(self) -> float:
        """Of all jobs, one after the other."""
        return sum(job.seconds for job in self.jobs)

    def wall_seconds(self, cores: int, factors: Mapping[str, float] | None = None) -> float:
        """Of all jobs, on so many cores; if given, the jobs of a model's runs take `factors` times as long."""
        scaled = [
            replace(job, seconds=job.seconds * (factors or {}).get(model, 1.0))
            for job, model in zip(self.jobs, self.models, strict=True)
        ]
        return wall_seconds(scaled, cores)


def plan_runs_of(
    configuration: Configuration, tokens: TokenSource, forecasters: dict[str, Forecaster]
) -> list[PlannedRun]:
    """Predict every selected run of a configuration."""
    asked, share = configuration.options["evaluate"], configuration.options["split"]["validation_share"]
    results, planned = Path(configuration.results), []
    for run in configuration.runs():
        row = configuration.scenario_table[run.scenario]
        place = f"{run.model}/{run.dataset}/{run.protocol}/{run.scenario}"
        dataset = configuration.dataset_table.get(run.dataset, {})
        sizes = part_sizes(dataset, run.protocol, share)
        values = int(dataset.get("length") or 0) * int(dataset.get("channels") or 0)
        told = tokens.tell(place, int(row["context_length"]), sizes, values or None)
        steps = STEPS if asked["controls"] else STEPS[:2]
        missing = tuple(step for step in steps if not (results / run.folder / OUTPUTS[step]).exists())
        # What comes after a step that is made anew is made anew.
        missing = steps[steps.index(missing[0]) :] if missing else ()
        prediction = None
        if told is not None:
            prediction = forecasters[run.model].predict(
                told.cases,
                told.tokens,
                configuration.finetune_settings(run.model, run.scenario, run.seed),
                temperature=bool(asked["temperature"]),
                controls=control_passes(row["modality"]) if asked["controls"] else None,
            )
        planned.append(PlannedRun(run, missing, prediction, told.source if told else ""))
    return planned


def plan_whole(configuration: Configuration, history: Sequence[Path], planned: list[PlannedRun]) -> Whole:
    """Add the steps around the runs, as far as they are not done, and bring all into an order.

    Describers that ask an endpoint, downloads of models, and baselines without an earlier job of the same kind have no
    known time: they are counted, not timed.
    """
    return _Planner(configuration, history, planned).whole


class _Planner:
    """Collects the jobs of a plan; a job is made once, whoever needs it.

    A method named after what is needed returns the place of the job that makes it, or None if it is there.
    """

    def __init__(
        self, configuration: Configuration, history: Sequence[Path], planned: list[PlannedRun]
    ) -> None:
        self.configuration = configuration
        self.results = Path(configuration.results)
        self.folders = [self.results, *history]
        self.whole = Whole(planned)
        self._made: dict[tuple[str, ...], int | None] = {}
        self._costs: dict[str, np.ndarray] = {}
        collected: dict[tuple[str, str], list[int]] = {}
        for entry in planned:
            last = self._run(entry)
            if last is not None:
                collected.setdefault((entry.run.model, entry.run.dataset), []).append(last)
        self._tables(collected)
        self._baselines()
        for model in configuration.models:
            if model in configuration.models_from("hub") and not (self.results / "models" / model).exists():
                self._not_counted("download_model")

    def _job(
        self,
        step: str,
        place: Sequence[str],
        done: Path,
        cases: int = 0,
        after: Sequence[Callable[[], int | None]] = (),
    ) -> int | None:
        key = (step, *place)
        if key not in self._made:
            self._made[key] = None
            if not (self.results / done).exists():
                before = tuple(job for needed in after if (job := needed()) is not None)
                self._made[key] = self._add(step, self._seconds(step, cases), before, FIRST)
        return self._made[key]

    def _add(self, step: str, seconds: float, after: tuple[int, ...] = (), priority: int = 0) -> int:
        self.whole.around.setdefault(step, []).append(seconds)
        self.whole.jobs.append(Job(seconds, after=after, priority=priority))
        self.whole.models.append("")
        return len(self.whole.jobs) - 1

    def _not_counted(self, step: str) -> None:
        self.whole.uncounted[step] = self.whole.uncounted.get(step, 0) + 1

    def _seconds(self, step: str, cases: int) -> float:
        if step not in self._costs:
            earlier = earlier_steps(self.folders, step)
            if len(ASSUMED[step]) == 1:
                seconds = [run.seconds[step] for run in earlier]
                self._costs[step] = np.array([np.median(seconds) if seconds else ASSUMED[step][0]])
            else:
                self._costs[step] = learn_costs(earlier, [step])[step]
        costs = self._costs[step]
        return float(costs @ np.array([1.0, float(cases)])[: len(costs)])

    def _run(self, entry: PlannedRun) -> int | None:
        """Add what is left of a run, and what it needs; return its last job."""
        if not entry.missing or entry.prediction is None:
            return None
        run, threads = entry.run, int(self.configuration.model_resources(entry.run.model)["threads"])
        before: tuple[int, ...] = ()
        if "finetune_model" in entry.missing:
            needed = [self._model(run.model), self._plots(run), self._conversations(run)]
            before = tuple(job for job in needed if job is not None)
        for step in entry.missing:
            self.whole.jobs.append(Job(entry.prediction.seconds[step], threads, before))
            self.whole.models.append(run.model)
            before = (len(self.whole.jobs) - 1,)
        return before[0]

    def _cases(self, run: Run) -> int:
        share = self.configuration.options["split"]["validation_share"]
        sizes = part_sizes(self.configuration.dataset_table.get(run.dataset, {}), run.protocol, share)
        return dataset_cases(self.results, run.dataset) or (sum(sizes.values()) if sizes else 0)

    def _model(self, model: str) -> int | None:
        if model not in self.configuration.models_from("assemble"):
            return None
        return self._job(
            "assemble_model", [model], Path("models", model), after=[partial(self._model_parts, model)]
        )

    def _model_parts(self, model: str) -> int | None:
        return self._job("download_model_parts", [model], Path("model_parts", model))

    def _archive(self, dataset: str) -> int | None:
        return self._job("download_dataset", [dataset], Path("datasets", dataset, "archive.npz"))

    def _series(self, dataset: str) -> int | None:
        done = Path("datasets", dataset, "series.npz")
        return self._job("preprocess_dataset", [dataset], done, after=[partial(self._archive, dataset)])

    def _split(self, run: Run) -> int | None:
        done = Path("datasets", run.dataset, run.protocol, "split.npz")
        place = [run.dataset, run.protocol]
        return self._job("split_dataset", place, done, after=[partial(self._series, run.dataset)])

    def _plots(self, run: Run) -> int | None:
        plot = self.configuration.shown_plot(run.scenario)
        if not plot or self.configuration.plot_settings(plot)["series"] != "full":
            return None
        done = Path("plots", run.dataset, plot, "manifest.json")
        series = partial(self._series, run.dataset)
        return self._job("render_plots", [run.dataset, plot], done, self._cases(run), [series])

    def _description(self, dataset: str, kind: str) -> int | None:
        done = Path("descriptions", dataset, f"{kind}.json")
        return self._job("describe_series", [dataset, kind], done, after=[partial(self._series, dataset)])

    def _conversations(self, run: Run) -> int | None:
        place = Path("conversations", run.model, run.dataset, run.protocol, run.scenario)
        kinds = [kind for kind in self.configuration.descriptions(run.scenario).values() if kind]
        after = [partial(self._split, run), partial(self._model, run.model)]
        after += [
            partial(self._description, run.dataset, kind) for kind in kinds if kind.startswith("template/")
        ]
        return self._job(
            "build_conversations", place.parts[1:], place / "budget.json", self._cases(run), after
        )

    def _tables(self, collected: Mapping[tuple[str, str], list[int]]) -> None:
        """Add tables and figures of what is made anew."""
        last = []
        for (model, dataset), runs in collected.items():
            place = Path(model, dataset, f"{self.configuration.protocol}.tsv")
            seconds = sum(self._table_seconds(rule, place) for rule in COLLECTING)
            last.append(self._add("tables", seconds, tuple(runs)))
        if last:
            for rule in WRITING:
                self._add("tables", self._table_seconds(rule, Path("all.tsv")), tuple(last))

    def _table_seconds(self, rule: str, place: Path) -> float:
        found = (benchmark_seconds(folder / "benchmarks" / rule / place) for folder in self.folders)
        return next((seconds for seconds in found if seconds is not None), ASSUMED_TABLE)

    def _baselines(self) -> None:
        """Count the configured baselines: the median time of the same one on other datasets, if there is one."""
        known: dict[tuple[str, str], float | None] = {}
        for key in baseline_keys(self.configuration, self.configuration.options["baselines"]):
            if (self.results / key.folder / "metrics.json").exists():
                continue
            step = "fit_probe" if key.model else "fit_baseline"
            kind = step, key.baseline
            if kind not in known:
                paths = (
                    path
                    for folder in self.folders
                    for path in (folder / "benchmarks" / step).rglob(f"{key.baseline}.tsv")
                )
                seconds = [found for path in paths if (found := benchmark_seconds(path)) is not None]
                known[kind] = float(np.median(seconds)) if seconds else None
            found = known[kind]
            if found is None:
                self._not_counted(step)
            else:
                self._add(step, found)

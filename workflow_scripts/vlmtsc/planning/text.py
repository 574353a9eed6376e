"""The plan as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlmtsc.planning.cost_model import FOR_A_RANGE, Error
from vlmtsc.planning.forecast import Forecaster, LeftOut
from vlmtsc.planning.whole import PlannedRun, Whole

HEADER = ["model", "dataset", "protocol", "scenario", "seed", "state", "samples", "tokens", "minutes"]
#: By model, what a prediction is multiplied by for its range; None without one.
Bounds = Mapping[str, tuple[float, float] | None]
#: From this column on, cells stand at the right.
NUMBERS = 6


def columns(lines: Sequence[Sequence[str]], numbers: int) -> str:
    """Lay out lines in columns, numbers at the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column >= numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def minutes(seconds: float) -> str:
    """Write seconds in minutes with one decimal."""
    return f"{seconds / 60:.1f}"


def between(seconds: float, bounds: tuple[float, float] | None) -> str:
    """Write a range in minutes; nothing without one."""
    return f"{minutes(seconds * bounds[0])} to {minutes(seconds * bounds[1])}" if bounds else ""


def plan_table(runs: Sequence[PlannedRun], bounds: Bounds) -> str:
    """Lay out runs, what is done, and the estimates of what is to do, with their sum.

    Parameters
    ----------
    runs : sequence of PlannedRun
    bounds : dict
        By model, what a prediction is multiplied by for its range; None without one.
    """
    lines = [[*HEADER, "range"]]
    for entry in runs:
        run, known = entry.run, entry.prediction
        shown = ["", "", "", ""]
        if entry.missing:
            shown = ["?", "?", "?", ""]
            if known is not None:
                shown = [f"{known.work.train_samples:.0f}", f"{known.work.train_tokens:.0f}"]
                shown += [minutes(entry.seconds), between(entry.seconds, bounds[run.model])]
        state = "to do" if entry.missing else "done"
        lines.append([run.model, run.dataset, run.protocol, run.scenario, str(run.seed), state, *shown])
    todo = [entry for entry in runs if entry.missing]
    known_ones = [entry for entry in todo if entry.prediction is not None]
    works = [entry.prediction.work for entry in known_ones if entry.prediction]
    total = ["to do", "", "", "", "", f"{len(todo)} runs"]
    total += [
        f"{sum(work.train_samples for work in works):.0f}",
        f"{sum(work.train_tokens for work in works):.0f}",
    ]
    total += [minutes(sum(entry.seconds for entry in known_ones)), range_of(known_ones, bounds)]
    return columns([*lines, total], NUMBERS)


def range_of(runs: Sequence[PlannedRun], bounds: Bounds) -> str:
    """Write the range of a sum of runs, as if all were off by as much; nothing where one has no range."""
    known = [bounds[entry.run.model] for entry in runs]
    if not runs or None in known:
        return ""
    pairs = [pair for pair in known if pair is not None]
    low = sum(entry.seconds * pair[0] for entry, pair in zip(runs, pairs, strict=True))
    high = sum(entry.seconds * pair[1] for entry, pair in zip(runs, pairs, strict=True))
    return f"{minutes(low)} to {minutes(high)}"


def plan_summary(whole: Whole, cores: int, bounds: Bounds) -> list[str]:
    """Say what the whole takes, and what is not in it."""
    around = sum(sum(seconds) for seconds in whole.around.values())
    steps = ", ".join(f"{len(seconds)} {step}" for step, seconds in whole.around.items())
    lines = [f"Around the runs: {minutes(around)} minutes ({steps})."] if steps else []
    known = {model: pair for model, pair in bounds.items() if pair is not None}
    ends = [
        minutes(whole.wall_seconds(cores, {model: pair[end] for model, pair in known.items()}))
        for end in (0, 1)
    ]
    lines.append(
        f"Whole: {minutes(whole.sum_seconds)} minutes of jobs, {minutes(whole.wall_seconds(cores))} minutes on {cores} "
        f"core{'s' if cores != 1 else ''}{f' ({ends[0]} to {ends[1]})' if known and whole.jobs else ''}."
    )
    unknown = sum(entry.prediction is None and bool(entry.missing) for entry in whole.runs)
    if unknown:
        lines.append(f"Not counted: {unknown} runs on datasets of unknown size.")
    if whole.uncounted:
        jobs = ", ".join(f"{count} {step}" for step, count in whole.uncounted.items())
        lines.append(f"Not counted, since no earlier job tells their time: {jobs}.")
    sources = [entry.tokens_from for entry in whole.runs if entry.missing and entry.prediction]
    sources = [source for source in sources if source != "built"]
    if sources:
        counts = {source: sources.count(source) for source in dict.fromkeys(sources)}
        told = ", ".join(f"{source}: {count} runs" for source, count in counts.items())
        lines.append(f"Tokens of conversations that are not built yet, from {told}.")
    return lines


def model_summary(forecaster: Forecaster) -> str:
    """Say from how many runs the costs of a model were learnt, and how far off predictions are."""
    start, token, validation, attended = forecaster.costs["finetune_model"]
    costs = (
        f"fine-tuning starts in {start:.0f} s, then {1 / token:.0f} training and {1 / validation:.0f} "
        f"validation tokens a second, {attended * 1e6:.2g} s for a million pairs that attention compares"
    )
    count = len(forecaster.earlier)
    if not count:
        return (
            f"{forecaster.model}: no earlier runs; assumed is what the embedded model took on one core of a busy "
            f"machine, and no early stopping: {costs}."
        )
    where = forecaster.earlier[0]
    place = f"{where.device}, {where.threads} thread{'s' if where.threads != 1 else ''}"
    if forecaster.elsewhere:
        place = "other hardware or threads than these jobs will have"
    return f"{forecaster.model}: learnt from {runs_text(count)} ({place}): {costs}. {error_text(forecaster.error)}"


def runs_text(count: int) -> str:
    """Write a number of earlier runs."""
    return f"{count} earlier run{'s' if count != 1 else ''}"


def error_text(error: Error) -> str:
    """Say how far off predictions of earlier runs are."""
    if len(error.ratios) < FOR_A_RANGE:
        return f"No range: that needs {FOR_A_RANGE} earlier runs."
    low, high = error.bounds or (1.0, 1.0)
    return (
        f"Of {runs_text(len(error.ratios))}, each predicted from all others: measured over predicted is "
        f"{error.median:.2f} in the median, between {low:.2f} and {high:.2f} for the middle 80% (the range above), at "
        f"worst {error.worst:.2f}; half are off by a factor of {error.factor:.2f} at most."
    )


def check_table(rows: Sequence[LeftOut]) -> str:
    """Lay out earlier runs beside what was predicted from all others."""
    lines = [["run", "epochs", "predicted s", "measured s", "measured / predicted"]]
    lines += [
        [
            row.run.name,
            f"{row.run.done.epochs:.1f}",
            f"{sum(row.predicted.values()):.0f}",
            f"{sum(row.measured.values()):.0f}",
            f"{row.ratio:.2f}",
        ]
        for row in rows
    ]
    return columns(lines, 1)

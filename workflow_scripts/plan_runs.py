"""List the runs that a configuration asks for, with an estimate of samples, tokens and time. Writes nothing."""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml

from vlmtsc.configuration import Configuration, Run, load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.planning import (
    DEFAULT_TOKENS_PER_SECOND,
    Cost,
    control_passes,
    estimate,
    part_sizes,
    plan_table,
)

ROOT = Path(__file__).parents[1]


def plan_runs(configfile: list[Path] | None = None, config: list[str] | None = None) -> None:
    """Print the plan of a configuration.

    Measured figures are used where earlier steps have left them: the speed of finished runs, and the tokens of
    conversations that have been built. Otherwise a sample counts as its scenario's whole context.

    Parameters
    ----------
    configfile : list of Path, optional
        Configuration files over the default one, as for ``snakemake --configfile``.
    config : list of str, optional
        ``key=value``, as for ``snakemake --config``.
    """
    configuration = load_configuration_files(configfile or [], ROOT, _overrides(config or []))
    results = Path(configuration.results)
    speeds = measured_speeds(results)
    rows: list[tuple[Run, str, Cost | None]] = []
    for run in configuration.runs():
        folder = results / run.folder
        state = "done" if (folder / "metrics.json").exists() else "to do"
        rows.append((run, state, cost_of(run, configuration, speeds)))
    print(plan_table(rows))
    for model in configuration.models:
        speed, source = speed_of(model, speeds)
        print(f"{model}: {speed:.0f} training tokens a second ({source})")
    print("Minutes are those of fine-tuning and evaluation, one run after the other.")


def cost_of(run: Run, configuration: Configuration, speeds: dict[str, list[float]]) -> Cost | None:
    """Estimate one run; None for a dataset of unknown size."""
    share = configuration.options["split"]["validation_share"]
    sizes = part_sizes(configuration.dataset_table.get(run.dataset, {}), run.protocol, share)
    tokens = float(configuration.scenario_table[run.scenario]["context_length"])
    budget = Path(configuration.results, "conversations", *_parts(run), "budget.json")
    if budget.exists():
        measured = read_json(budget)["tokens"]
        sizes = {part: counts["cases"] for part, counts in measured.items()}
        tokens = measured["train"]["mean"]
    if sizes is None:
        return None
    recipe = configuration.finetune_settings(run.model, run.scenario, run.seed)
    asked, modality = (
        configuration.options["evaluate"],
        configuration.scenario_table[run.scenario]["modality"],
    )
    further = {
        "validation": int(asked["temperature"]),
        "test": control_passes(modality) if asked["controls"] else 0,
    }
    return estimate(sizes, tokens, recipe, speed_of(run.model, speeds)[0], further_passes=further)


def measured_speeds(results: Path) -> dict[str, list[float]]:
    """Training tokens a second of every finished run below `results`, by model."""
    speeds: dict[str, list[float]] = {}
    for path in sorted(results.glob("runs/*/*/*/*/seed-*/run_record.json")):
        speed = read_json(path).get("tokens_per_second")
        if speed:
            speeds.setdefault(path.relative_to(results).parts[1], []).append(float(speed))
    return speeds


def speed_of(model: str, speeds: dict[str, list[float]]) -> tuple[float, str]:
    """Training tokens a second of a model, and where the figure comes from."""
    if model in speeds:
        return statistics.median(speeds[model]), f"median of {len(speeds[model])} earlier runs"
    return DEFAULT_TOKENS_PER_SECOND, "assumed: the embedded model on two CPU cores"


def _parts(run: Run) -> tuple[str, str, str, str]:
    return run.model, run.dataset, run.protocol, run.scenario


def _overrides(assignments: list[str]) -> dict[str, Any]:
    """Read ``key=value`` with the value as YAML."""
    wrong = [text for text in assignments if "=" not in text]
    if wrong:
        raise InputError(f"--config: found {wrong[0]!r}; allowed: key=value")
    return {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in assignments)}


def main() -> None:
    """Take the options of a `snakemake` command that say what to run; ignore the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", nargs="+", type=Path, action="extend", default=[])
    parser.add_argument("--config", "-C", nargs="*", action="extend", default=[], metavar="KEY=VALUE")
    options, _ = parser.parse_known_args()
    try:
        plan_runs(options.configfile, options.config)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

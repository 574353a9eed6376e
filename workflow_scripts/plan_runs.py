"""List the runs that a configuration asks for, with an estimate of samples, tokens and time. Writes nothing."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from vlmtsc.configuration import Configuration, load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.model.devices import list_gpus, name_gpu
from vlmtsc.planning.cost_model import Error
from vlmtsc.planning.forecast import Forecaster, left_out
from vlmtsc.planning.history import EarlierRun, earlier_runs
from vlmtsc.planning.text import check_table, error_text, model_summary, plan_summary, plan_table
from vlmtsc.planning.tokens import TokenSource
from vlmtsc.planning.whole import plan_runs_of, plan_whole
from vlmtsc.training.record import processor_name

ROOT = Path(__file__).parents[1]


def plan_runs(
    configfile: list[Path] | None = None,
    config: list[str] | None = None,
    history: list[Path] | None = None,
    cores: int | None = None,
    check: bool = False,
) -> None:
    """Print the plan of a configuration: what is to do, and how long it will take, learnt from earlier runs.

    Parameters
    ----------
    configfile : list of Path, optional
        Configuration files over the default one, as for ``snakemake --configfile``.
    config : list of str, optional
        ``key=value``, as for ``snakemake --config``.
    history : list of Path, optional
        Results folders to learn from, beside the configuration's own and those of its key ``history``.
    cores : int, optional
        For the time of the whole; by default those of the machine.
    check : bool, default False
        Print, in place of the plan, each earlier run and what is predicted for it from all others.
    """
    configuration = load_configuration_files(configfile or [], ROOT, _overrides(config or []))
    results = Path(configuration.results)
    others = [*map(Path, configuration.options["history"]), *(history or [])]
    for folder in others:
        if not (folder / "runs").is_dir():
            raise InputError(
                f"history: {folder} holds no folder runs; allowed: results folders of earlier runs"
            )
    earlier = earlier_runs([results, *others])
    if check:
        print(_checked(earlier))
        return
    forecasters = {model: forecaster_of(model, configuration, earlier) for model in configuration.models}
    planned = plan_runs_of(configuration, TokenSource(results, others), forecasters)
    whole = plan_whole(configuration, others, planned)
    bounds = {model: forecaster.error.bounds for model, forecaster in forecasters.items()}
    print(plan_table(planned, bounds))
    print(*plan_summary(whole, cores or os.cpu_count() or 1, bounds), sep="\n")
    print(*(model_summary(forecaster) for forecaster in forecasters.values()), sep="\n")


def forecaster_of(model: str, configuration: Configuration, earlier: list[EarlierRun]) -> Forecaster:
    """Learn the costs of a model on this machine, with the threads that its jobs have."""
    needs = configuration.model_resources(model)
    device = name_gpu() if needs["gpu"] and list_gpus() else processor_name()
    return Forecaster(model, earlier, device, int(needs["threads"]))


def _checked(earlier: list[EarlierRun]) -> str:
    parts = []
    for model in dict.fromkeys(run.model for run in earlier):
        rows = left_out([run for run in earlier if run.model == model], len(earlier))
        error = Error(tuple(sorted(row.ratio for row in rows)))
        parts += [check_table(rows), f"{model}: {error_text(error)}"] if rows else []
    return "\n".join(parts) or "No two earlier runs of a model to learn from."


def _overrides(assignments: list[str]) -> dict[str, Any]:
    """Read ``key=value`` with the value as YAML."""
    wrong = [text for text in assignments if "=" not in text]
    if wrong:
        raise InputError(f"--config: found {wrong[0]!r}; allowed: key=value")
    return {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in assignments)}


def _cores(text: str) -> int | None:
    """Read the value of ``--cores`` as Snakemake does: a number, or ``all``."""
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"--cores: found {text!r}; allowed: a number from 1, or all")
    return int(text)


def main() -> None:
    """Take the options of a `snakemake` command that say what to run, and where; ignore the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", nargs="+", type=Path, action="extend", default=[])
    parser.add_argument("--config", "-C", nargs="*", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--cores", "-c", default="all", metavar="N")
    parser.add_argument("--history", nargs="+", type=Path, action="extend", default=[], metavar="FOLDER")
    parser.add_argument("--check", action="store_true")
    options, _ = parser.parse_known_args()
    try:
        cores = _cores(options.cores)
        plan_runs(options.configfile, options.config, options.history, cores, options.check)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

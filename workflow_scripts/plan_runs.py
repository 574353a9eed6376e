"""List the configured runs, with an estimate of jobs, samples, tokens and time. Writes nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from snakemake.cli import parse_config

from vlmtsc.configuration import Configuration, load_configuration_files
from vlmtsc.data.splits import split_cases
from vlmtsc.errors import InputError
from vlmtsc.planning import plan_runs, plan_table
from vlmtsc.settings import DatasetRow

ROOT = Path(__file__).parents[1]


def own_data(configuration: Configuration, sizes: dict[str, dict[str, int]]) -> Iterator[str]:
    """Read the user's tables; yield what was understood.

    Add the sizes of their sets to `sizes`, and what else is needed to the table of datasets.
    """
    for name in configuration.datasets:
        if (path := configuration.own_table(name)) is None:
            continue
        from vlmtsc.data.own import describe_own, own_series, read_own  # pandas

        settings = configuration.download_settings(name)
        cases = read_own(path, settings.columns, settings.group, irregular=settings.irregular)
        series = own_series(cases)
        if len(classes := {*series.labels.tolist()}) < 2:
            raise InputError(f"{path}: all cases have the label {classes.pop()!r}; needed are two classes")
        yield from (f"{name}: {line}" for line in describe_own(cases, series))
        yield ""
        sets = split_cases(
            np.unique(series.labels, return_inverse=True)[1],
            series.n_train,
            configuration.split_settings(configuration.protocol, name),
            n_validation=series.n_validation,
            groups=series.groups,
        )
        sizes[name] = {part: len(chosen) for part, chosen in sets.items()}
        _, channels, length = series.values.shape
        row = configuration.dataset_table.get(name) or DatasetRow(name=name, sources="folder")
        facts = {"channels": channels, "length": length, "classes": len(classes)}
        configuration.dataset_table[name] = row.model_copy(update=facts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan; of the options of a `snakemake` command, read the configuration and ignore the others.

    As in Snakemake, a repeated option replaces the first.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[])
    parser.add_argument("--config", "-C", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--directory", "-d", type=Path, default=Path())
    options, _ = parser.parse_known_args(arguments)
    try:
        # Snakemake reads the files before it changes to the directory.
        files = [path.absolute() for path in options.configfile]
        os.chdir(options.directory)
        files = [Path(os.path.relpath(path)) for path in files]
        try:
            values = parse_config(options.config)
        except ValueError as error:
            raise InputError(f"--config {' '.join(options.config)}: {error}") from error
        configuration = load_configuration_files(files, ROOT, values)
        sizes: dict[str, dict[str, int]] = {}
        print(*own_data(configuration, sizes), sep="\n", end="")
        print(plan_table(plan_runs(configuration, sizes)))
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

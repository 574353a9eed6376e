"""List the configured runs, with an estimate of jobs, samples, tokens and time. Writes nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from vlmtsc.configuration import Configuration, load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.planning import plan_runs, plan_table
from vlmtsc.settings import DatasetRow

ROOT = Path(__file__).parents[1]


def own_data(configuration: Configuration) -> Iterator[str]:
    """Read the user's tables; yield what was understood, and note their sizes in the table of datasets."""
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
        (n_cases, channels, length), n_train = series.values.shape, series.n_train
        row = configuration.dataset_table.get(name) or DatasetRow(name=name, sources="folder")
        sizes = {"channels": channels, "length": length, "classes": len(classes)}
        configuration.dataset_table[name] = row.model_copy(
            update={**sizes, "train_size": n_train, "test_size": n_cases - n_train}
        )


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
        if wrong := [text for text in options.config if "=" not in text]:
            raise InputError(f"--config: found {wrong[0]!r}; allowed: key=value")
        values = {
            key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.config)
        }
        configuration = load_configuration_files(files, ROOT, values)
        print(*own_data(configuration), sep="\n", end="")
        print(plan_table(plan_runs(configuration)))
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

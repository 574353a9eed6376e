"""List the configured runs, with an estimate of jobs, samples, tokens and time. Writes nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.planning import plan_runs, plan_table

ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan; of the options of a `snakemake` command, read the configuration and ignore the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", nargs="+", type=Path, action="extend", default=[])
    parser.add_argument("--config", "-C", nargs="*", action="extend", default=[], metavar="KEY=VALUE")
    options, _ = parser.parse_known_args(arguments)
    try:
        if wrong := [text for text in options.config if "=" not in text]:
            raise InputError(f"--config: found {wrong[0]!r}; allowed: key=value")
        values = {
            key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.config)
        }
        print(plan_table(plan_runs(load_configuration_files(options.configfile, ROOT, values))))
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

"""Which baselines a configuration asks for, and what they need. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

from vlmtsc.baselines.settings import BASELINES, PROBES, BaselineKey
from vlmtsc.configuration import Configuration
from vlmtsc.errors import InputError
from vlmtsc.representation.settings import ScenarioSettings


def asked_baselines(configuration: Configuration) -> tuple[str, ...]:
    """Return what the target `baselines` makes: the configured ones, or all if none are."""
    return tuple(configuration.options["baselines"]) or BASELINES


def baseline_keys(configuration: Configuration, names: Sequence[str]) -> list[BaselineKey]:
    """Return the baselines of these names on every selected dataset; probes once for each model."""
    datasets = dict.fromkeys(run.dataset for run in configuration.runs())
    return [
        BaselineKey(name, dataset, configuration.protocol, model)
        for dataset in datasets
        for name in names
        for model in (configuration.models if name in PROBES else [""])
    ]


def probed_plot(configuration: Configuration) -> str:
    """Return the plot whose features are probed: the first of the table that is of full series.

    Raises
    ------
    InputError
        If there is none.
    """
    for name, row in configuration.plot_table.items():
        if row["series"] == "full":
            return name
    raise InputError("baselines: logistic_tower needs a plot with series='full' in the table of plots")


def probed_scenario(configuration: Configuration) -> str:
    """Return the scenario whose questions are probed: the first of the table that gives numbers alone.

    Raises
    ------
    InputError
        If there is none.
    """
    for name, row in configuration.scenario_table.items():
        scenario = ScenarioSettings(**row)
        extra = scenario.compat or scenario.described_context or scenario.has_rationale_target
        if not (scenario.has_image or extra):
            return name
    raise InputError("baselines: logistic_language needs a scenario with modality='numbers' in their table")

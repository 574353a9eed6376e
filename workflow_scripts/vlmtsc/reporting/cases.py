"""Scenarios whose cases are shown in figures and pages of a dataset; read by rules, so without heavy imports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmtsc.paths import Run

if TYPE_CHECKING:
    from vlmtsc.configuration import Configuration


@dataclass(frozen=True)
class CaseScenario:
    """A scenario of one model on a dataset.

    Attributes
    ----------
    model, scenario : str
    seeds : tuple of int
    plot, plots : str
        Name and folder of the plots that it shows; empty if it shows none.
    downsampled : bool
        Whether its numbers or plots are of downsampled series.
    """

    model: str
    scenario: str
    seeds: tuple[int, ...]
    plot: str = ""
    plots: str = ""
    downsampled: bool = False


def case_scenarios(
    runs: Sequence[Run], configuration: Configuration, plots_of: Callable[[Run], str | Sequence[str]]
) -> list[CaseScenario]:
    """Return the scenarios of the runs on one dataset.

    Parameters
    ----------
    runs : sequence of Run
    configuration : Configuration
    plots_of : callable
        Returns the folder of the plots that a run shows, or something empty.
    """
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

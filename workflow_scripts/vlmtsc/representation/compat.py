"""Switches that restore faults of the original, so that the effect of each can be measured.

Each is off by default and takes effect in one place, where the correct behaviour is; docs/corrections.md tells them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from vlmtsc.errors import InputError

if TYPE_CHECKING:
    from vlmtsc.representation.settings import PlotSettings, ScenarioSettings

#: A fault of the original, or `none`.
Switch = Literal[
    "none",
    "no_image_token",
    "merged_labels",
    "single_token_score",
    "first_case_factor",
    "blank_plot",
    "leaked_rationale",
    "padding_in_training_only",
]

SHOWS_PLOT = ("plot", "both")
#: What a switch acts on: the settings of a scenario that it needs, and the values that they may have.
NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "no_image_token": {"modality": ("both",)},
    "single_token_score": {"labels": ("numbers",)},
    "first_case_factor": {"numbers": ("decimals",), "factor": ("auto",)},
    "blank_plot": {"modality": SHOWS_PLOT},
    "leaked_rationale": {"context_text": ("rationale",), "labels": ("numbers",)},
    "padding_in_training_only": {"modality": SHOWS_PLOT},
}
#: The same of the scenario's plot. A lone value is invisible in the style `line` only.
NEEDS_OF_PLOT: dict[str, dict[str, tuple[str, ...]]] = {
    "blank_plot": {"series": ("downsampled",), "style": ("line",)}
}


def chosen_switches(scenario: str, named: Iterable[Switch]) -> tuple[Switch, ...]:
    """Return the switches that a scenario names, without `none`.

    Raises
    ------
    InputError
        If `none` stands beside a switch, or a switch twice.
    """
    switches = tuple(named)
    if len(set(switches)) < len(switches) or (len(switches) > 1 and "none" in switches):
        raise InputError(
            f"scenario {scenario}: compat={', '.join(switches)}; allowed: none, or each switch once"
        )
    return tuple(switch for switch in switches if switch != "none")


def faulty_scenario(row: Mapping[str, Any], switch: Switch) -> dict[str, Any]:
    """Return a scenario's row of the table with one fault of the original, under a name of its own.

    Raises
    ------
    InputError
        If the scenario has a fault already: a difference would not be that of one.
    """
    if chosen_switches(row["name"], row.get("compat", ())):
        raise InputError(f"scenario {row['name']}: compat={', '.join(row['compat'])}; allowed here: none")
    return {**row, "name": f"{row['name']}__{switch}", "compat": [switch]}


def check_switches(scenario: ScenarioSettings) -> None:
    """Raise InputError if a switch has nothing to act on in its scenario."""
    _check(scenario, NEEDS, scenario, "")


def check_switches_of_plot(scenario: ScenarioSettings, plot: PlotSettings) -> None:
    """Raise InputError if a switch has nothing to act on in its scenario's plot."""
    _check(scenario, NEEDS_OF_PLOT, plot, f"the plot {scenario.plot!r} has ")


def _check(
    scenario: ScenarioSettings,
    needs: dict[str, dict[str, tuple[str, ...]]],
    settings: ScenarioSettings | PlotSettings,
    where: str,
) -> None:
    for switch in scenario.compat:
        for key, allowed in needs.get(switch, {}).items():
            found = getattr(settings, key)
            if found not in allowed:
                raise InputError(
                    f"scenario {scenario.name}: compat={switch!r}, but {where}{key}={found!r}; "
                    f"allowed with this switch: {' or '.join(allowed)}"
                )

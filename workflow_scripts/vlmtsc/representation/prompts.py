"""Texts around a series: the paper's prompts, LLaVA v1's chat template, and the answers that stand for classes."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from vlmtsc.errors import InputError

#: LLaVA's placeholder for one image; the processor replaces it by one placeholder per image token.
IMAGE_TOKEN = "<image>"

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


def chat_text(question: str, answer: str | None = None, *, system: str = "", eos: str = "</s>") -> str:
    """Return one exchange in LLaVA v1's template, the same for every model.

    ``{system} USER: {question} ASSISTANT: {answer}{eos}``, without a begin token, which a tokenizer adds if it has one
    (``add_special_tokens=True``). Without an answer it ends where the model continues: after ``ASSISTANT:``, without
    the blank, which belongs to the first token of an answer.

    Parameters
    ----------
    question : str
        The user's turn, the image placeholder included.
    answer : str, optional
    system : str, default ""
        System prompt.
    eos : str, default "</s>"
        The tokenizer's end token.

    Examples
    --------
    >>> chat_text("Class: ", "1")
    'USER: Class:  ASSISTANT: 1</s>'
    """
    text = f"{f'{system} ' if system else ''}USER: {question} ASSISTANT:"
    return text if answer is None else f"{text} {answer}{eos}"


def label_texts(kind: str, classes: Sequence[str], reserved: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the answer for each class, by class index: all different.

    Parameters
    ----------
    kind : {"numbers", "letters", "names"}
    classes : sequence of str
        Canonical labels of the archive (`vlmtsc.data.series.canonical_label`), all different.
    reserved : sequence of str
        Special tokens of the tokenizer, which no answer may contain.

    Raises
    ------
    InputError
        If answers are class names and a name cannot be an answer.

    Examples
    --------
    >>> label_texts("letters", ["-1", "1", "walk"])
    ('A', 'B', 'C')
    """
    if kind == "numbers":
        return tuple(str(index + 1) for index in range(len(classes)))
    if kind == "letters":
        return tuple(_column_name(index) for index in range(len(classes)))
    for name in classes:
        found = [text for text in reserved if text and text in name]
        if not name or name != name.strip() or not name.isprintable() or found:
            raise InputError(
                f"class label {name!r} cannot be an answer; allowed with labels=names: printable text without blanks "
                f"around it, line breaks{''.join(f', {text}' for text in found)}; labels=numbers suits any"
            )
    return tuple(classes)


def _column_name(index: int) -> str:
    """Return the name of a spreadsheet's column: A, B, ..., Z, AA, AB, ..."""
    text = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        text = string.ascii_uppercase[letter] + text
    return text

"""The text around a series: the paper's prompts and LLaVA v1's chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
    """Return what the user asks about one series, without the image placeholder.

    The texts are the paper's BASELINE (univariate and multivariate), WITH_STATS, WITH_SIGNAL_ANALYSIS and
    WITH_RATIONALE prompts. The last three are of one channel in the paper; with several, numbers and
    features are listed under the same ``Dimension i:`` as in BASELINE, and one paragraph is about all.

    Parameters
    ----------
    numbers : sequence of str or None
        One text per channel; None for a prompt without numbers.
    statistics : sequence of str, optional
        One line of features per channel. Without `description` this is WITH_STATS, with it WITH_SIGNAL_ANALYSIS.
    description : str, optional
        A paragraph about the series; without `statistics` it is the rationale of WITH_RATIONALE.
    scale : str, optional
        A line that tells the scale of the numbers, put before them.

    Returns
    -------
    str
        The prompt; single quotes are stripped from it, as in the paper's code.

    References
    ----------
    "On the Feasibility of Vision-Language Models for Time-Series Classification", arXiv 2412.17304.
    """
    if numbers is None:
        return "Which class is the following signal from?\nClass: "
    told = f"{scale}\n" if scale else ""
    if statistics is not None or description is not None:
        features = "" if statistics is None else _by_channel(statistics)
        if description is None:
            context = features.lstrip()
        elif statistics is None:
            context = f"Rationale:{description}"
        else:
            context = f"Signal Analysis:{features}\n{description}"
        text = (
            f"{told}TimeSeries data:{_by_channel(numbers)}\n{context}\n"
            "Question:Which class is the above signal from? Class:"
        )
    elif len(numbers) == 1:
        text = f"Which class is the following signal from?\n{told}{numbers[0]}\nClass: "
    else:
        text = (
            f"Given the following multi-dimensional timeseries\n{told}{_by_channel(numbers).lstrip()}\n"
            "Which class is the above signal from\nClass: "
        )
    return text.replace("'", "")


def _by_channel(texts: Sequence[str]) -> str:
    """Return a lone channel's text, or a line ``Dimension i: text`` for each, after a line break."""
    if len(texts) == 1:
        return texts[0]
    return "".join(f"\nDimension {channel}: {text}" for channel, text in enumerate(texts))


def number_spans(prompt: str, numbers: str, n_channels: int) -> list[tuple[int, int]]:
    """Return where the numbers of each channel stand in a prompt of `build_prompt`: begin and end.

    Parameters
    ----------
    prompt : str
    numbers : {"decimals", "scaled", "none"}
        Number format of the scenario.
    n_channels : int
    """
    if numbers == "none":
        return []
    pattern = _CHANNEL[numbers]
    # The channels come before any other text that could look like them.
    found = (match.span(pattern.groups) for match in pattern.finditer(prompt))
    return [span for _, span in zip(range(n_channels), found, strict=False)]


def human_turn(prompt: str, *, has_image: bool) -> str:
    """Return the user's turn as LLaVA's data format stores it: the placeholder, if any, on its own line."""
    return f"{IMAGE_TOKEN}\n{prompt}" if has_image else prompt


def chat_text(
    human: str, answer: str | None = None, *, has_image: bool, system: str = "", eos: str = "</s>"
) -> str:
    r"""Return one exchange in LLaVA v1's template, the same for every model.

    Parameters
    ----------
    human : str
        The prompt, without the image placeholder.
    answer : str, optional
        The answer. Without it the text ends where the model has to go on: after ``ASSISTANT:``, with no
        blank, since the blank before an answer belongs to the answer's first token.
    has_image : bool
        Whether the placeholder is put before the prompt.
    system : str, default ""
        System prompt, put before everything.
    eos : str, default "</s>"
        The tokenizer's end token, put after an answer.

    Returns
    -------
    str
        ``{system} USER: <image>\n{human} ASSISTANT: {answer}{eos}``. It has no begin token: a tokenizer
        that wants one adds it (``add_special_tokens=True``).

    Examples
    --------
    >>> chat_text("Class: ", "1", has_image=False)
    'USER: Class:  ASSISTANT: 1</s>'
    """
    opening = f"{system} USER: " if system else "USER: "
    text = f"{opening}{human_turn(human, has_image=has_image)} ASSISTANT:"
    return text if answer is None else f"{text} {answer}{eos}"

"""What the model answers for each class."""

from __future__ import annotations

import string
from collections.abc import Sequence

from vlmtsc.errors import InputError


def label_texts(kind: str, classes: Sequence[str], reserved: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the answer for each class, by class index: all different.

    Parameters
    ----------
    kind : {"numbers", "letters", "names"}
    classes : sequence of str
        The archive's labels, canonical (`vlmtsc.data.series.canonical_label`) and all different.
    reserved : sequence of str
        Texts that mean something to the tokenizer, which no answer may hold.

    Raises
    ------
    InputError
        If the classes are to be answered by their names and a name cannot be an answer.

    Examples
    --------
    >>> label_texts("letters", ["-1", "1", "walk"])
    ('A', 'B', 'C')
    """
    if kind == "numbers":
        return tuple(str(index + 1) for index in range(len(classes)))
    if kind == "letters":
        return tuple(letters(index) for index in range(len(classes)))
    for name in classes:
        held = [text for text in reserved if text and text in name]
        if not name or name != name.strip() or not name.isprintable() or held:
            raise InputError(
                f"class label {name!r} cannot be an answer; allowed with labels=names: printable text without blanks "
                f"around it, line breaks{''.join(f', {text}' for text in held)}; labels=numbers suits any"
            )
    return tuple(classes)


def letters(index: int) -> str:
    """Return the name of a spreadsheet's column: A, B, ..., Z, AA, AB, ..."""
    text = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        text = string.ascii_uppercase[letter] + text
    return text

"""What the model answers for each class."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Sequence

import numpy as np

from vlmtsc.data.cleaning import order_classes
from vlmtsc.data.series import CleanSeries
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


def merge_labels(series: CleanSeries) -> CleanSeries:
    """Rename the labels "0" and "-1" to "2", as the original does (switch `merged_labels`).

    Classes then share a label where the dataset has both, and are fewer: nine of ten in PenDigits. What is true is
    the merged label, so that accuracy is what the original would have reported.

    Parameters
    ----------
    series : CleanSeries

    Returns
    -------
    CleanSeries
        The same cases with the merged labels, in the usual order of classes.

    Raises
    ------
    InputError
        If only one class is left.
    """
    renamed = np.array(["2" if label in ("0", "-1") else label for label in series.classes.tolist()])
    classes = order_classes(renamed)
    if len(classes) < 2:
        raise InputError(
            f"compat='merged_labels': the classes {', '.join(series.classes)} become one; allowed: a dataset with "
            "two classes left"
        )
    position = {label: index for index, label in enumerate(classes.tolist())}
    merged = np.array([position[label] for label in renamed.tolist()], dtype=np.int64)
    return dataclasses.replace(series, label_index=merged[series.label_index], classes=classes)

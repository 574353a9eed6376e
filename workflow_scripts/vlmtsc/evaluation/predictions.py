"""Predictions as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vlmtsc.errors import InputError


def prediction_table(
    ids: Sequence[str],
    scores: np.ndarray,
    classes: Sequence[str],
    labels: np.ndarray | None = None,
    generated: tuple[Sequence[str], np.ndarray] | None = None,
) -> pd.DataFrame:
    """Return one row a case.

    Parameters
    ----------
    ids : sequence of str
    scores : ndarray of float64, shape (n_cases, n_classes)
        Log-likelihoods of the classes' answers.
    classes : sequence of str
        The archive's labels, by class index.
    labels : ndarray of int64, shape (n_cases,), optional
        True class indices.
    generated : tuple of sequence of str and ndarray of int64, shape (n_cases,), optional
        What the model generated, and the index of the class that each text names; below 0 for none.

    Returns
    -------
    pandas.DataFrame
        Columns id, true (if known), predicted, and ``score_<class>`` for each class; if something was generated, also
        ``generated``, the text as `visible` writes it, and ``generated_class``, empty where the text is not valid.
    """
    names = np.asarray(classes)
    columns: dict[str, object] = {"id": list(ids)}
    if labels is not None:
        columns["true"] = names[labels]
    columns["predicted"] = names[scores.argmax(axis=1)]
    columns |= {f"score_{name}": scores[:, index] for index, name in enumerate(classes)}
    if generated is not None:
        texts, indices = generated
        columns["generated"] = [visible(text) for text in texts]
        columns["generated_class"] = [str(names[index]) if index >= 0 else "" for index in indices]
    return pd.DataFrame(columns)


def visible(text: str) -> str:
    r"""Return a text with what cannot be printed written as escapes, such as ``\r``.

    A model may generate anything. A carriage return is not quoted in a CSV file, and is read as the end of a row.
    """
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def read_predictions(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read a table of `prediction_table` with true classes.

    Returns
    -------
    ids : list of str
    label_index : ndarray of int64, shape (n_cases,)
        True classes, in the order of the columns of scores.
    scores : ndarray of float64, shape (n_cases, n_classes)

    Raises
    ------
    InputError
        If the table lacks columns, or a true class has no column of scores.
    """
    table = pd.read_csv(path, dtype={"id": str, "true": str, "predicted": str}, keep_default_na=False)
    columns = [name for name in table if name.startswith("score_")]
    missing = [name for name in ("id", "true") if name not in table]
    if missing or len(columns) < 2:
        raise InputError(
            f"{path}: columns {', '.join(table)}; allowed: id, true, predicted and score_<class> for each class"
        )
    position = {name.removeprefix("score_"): index for index, name in enumerate(columns)}
    unknown = sorted(set(table["true"]) - set(position))
    if unknown:
        raise InputError(f"{path}: true class {unknown[0]!r}; allowed: {', '.join(position)}")
    labels = np.array([position[name] for name in table["true"]], dtype=np.int64)
    return table["id"].tolist(), labels, table[columns].to_numpy(dtype=np.float64)

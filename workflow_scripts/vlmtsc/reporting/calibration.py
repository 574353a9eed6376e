"""Reliability curves of runs as tidy rows, as scored and at the fitted temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from vlmtsc.errors import InputError
from vlmtsc.evaluation.calibration import BINS, expected_calibration_error, reliability_curve
from vlmtsc.evaluation.predictions import read_predictions
from vlmtsc.paths import Run
from vlmtsc.reporting.runs import RUN_KEYS

AS_SCORED, AT_TEMPERATURE = "as scored", "at temperature"
#: Keys of the curves' errors in ``metrics.json``.
ERRORS = {
    AS_SCORED: "expected_calibration_error",
    AT_TEMPERATURE: "expected_calibration_error_at_temperature",
}
RELIABILITY_COLUMNS = [*RUN_KEYS, "scores", "bin", "confidence", "accuracy", "cases"]
RELIABILITY_TYPES: dict[str, Any] = {"bin": "int64", "cases": "int64", "seed": "int64", "scores": "object"}


def reliability_rows(run: Run, predictions: Path, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the reliability curves of one run, one row per bin that contains a case.

    Parameters
    ----------
    run : Run
    predictions : Path
        Its ``predictions.csv``.
    metrics : mapping
        Content of its ``metrics.json``; without a temperature in it there is one curve.

    Returns
    -------
    list of dict
        With the keys `RELIABILITY_COLUMNS`. ``bin``: 0 to `vlmtsc.evaluation.calibration.BINS` - 1, of equal width.

    Raises
    ------
    InputError
        If the file is damaged, or a curve's error is not that of the metrics: they are of different evaluations.
    """
    try:
        _, labels, scores = read_predictions(predictions)
    except InputError:
        raise
    except ValueError as error:  # pandas' own errors, and a score that is no number
        raise InputError(f"{predictions}: damaged ({error}); remove it to have it rebuilt") from error
    inner_edges = np.linspace(0, 1, BINS + 1)[1:-1]
    rows = []
    for name, temperature in {AS_SCORED: 1.0, AT_TEMPERATURE: metrics.get("temperature")}.items():
        if temperature is None:
            continue
        curve = reliability_curve(softmax(scores / temperature, axis=1), labels)
        found, expected = expected_calibration_error(curve), metrics.get(ERRORS[name])
        # A case on the edge of a bin may have moved by the rounding of its scores.
        if expected is None or not math.isclose(found, expected, abs_tol=1 / len(labels)):
            raise InputError(
                f"{predictions}: calibration error {found:.6f} {name}; allowed: {expected}, as in metrics.json"
            )
        for point in curve:
            place = int(np.searchsorted(inner_edges, point["confidence"]))
            rows.append(vars(run) | {"scores": name, "bin": place, **point})
    return rows

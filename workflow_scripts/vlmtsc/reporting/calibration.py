"""Reliability curves of runs as a tidy table: before and after their temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlmtsc.errors import InputError
from vlmtsc.evaluation.predictions import read_predictions
from vlmtsc.reporting.tables import RUN_KEYS

AS_SCORED, AT_TEMPERATURE = "as scored", "at temperature"
#: What ``metrics.json`` calls the error of each curve.
ERRORS = {
    AS_SCORED: "expected_calibration_error",
    AT_TEMPERATURE: "expected_calibration_error_at_temperature",
}
RELIABILITY_COLUMNS = [*RUN_KEYS, "scores", "bin", "confidence", "accuracy", "cases"]
RELIABILITY_TYPES: dict[str, Any] = {"bin": "int64", "cases": "int64", "seed": "int64", "scores": "object"}


def reliability_rows(
    key: Mapping[str, Any], predictions: Path, metrics: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the reliability curves of one run, a row for each bin that holds a case.

    Parameters
    ----------
    key : mapping
        `RUN_KEYS` of the run.
    predictions : Path
        Its ``predictions.csv``.
    metrics : mapping
        Content of its ``metrics.json``. Without a temperature in it there is one curve.

    Returns
    -------
    list of dict
        With the keys `RELIABILITY_COLUMNS`. ``bin``: 0 to `vlmtsc.evaluation.calibration.BINS` - 1, of equal width.

    Raises
    ------
    InputError
        If a file is cut off, or the curve's error is not that of the metrics: they are of different evaluations.
    """
    # SciPy and scikit-learn: not needed where no run is finished
    from scipy.special import softmax

    from vlmtsc.evaluation.calibration import BINS, expected_calibration_error, reliability_curve

    try:
        _, labels, scores = read_predictions(predictions)
    except InputError:
        raise
    except ValueError as error:  # pandas' own errors, and a score that is no number
        raise InputError(f"{predictions}: not whole ({error}); remove it to have it made anew") from error
    temperatures = {AS_SCORED: 1.0, AT_TEMPERATURE: metrics.get("temperature")}
    inner_edges = np.linspace(0, 1, BINS + 1)[1:-1]
    rows = []
    for name, temperature in temperatures.items():
        if temperature is None:
            continue
        curve = reliability_curve(softmax(scores / temperature, axis=1), labels)
        found, said = expected_calibration_error(curve), metrics.get(ERRORS[name])
        # A case on the edge of a bin may have moved by the rounding of its scores.
        if said is None or not math.isclose(found, said, abs_tol=1 / len(labels)):
            raise InputError(
                f"{predictions}: calibration error {found:.6f} {name}; allowed: {said}, as in metrics.json"
            )
        for point in curve:
            place = int(np.searchsorted(inner_edges, point["confidence"]))
            rows.append({**key, "scores": name, "bin": place, **point})
    return rows

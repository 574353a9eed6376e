"""Points of figures: one a scenario with its interval, and which points of cost and accuracy no other one beats."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vlmtsc.reporting.runs import DONE, OVER_SEEDS

PLACE = ["model", "protocol", "dataset"]


def scenario_points(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy and interval of each scenario that has a finished run: those of the accuracy table.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs; its order gives the order of rows.

    Returns
    -------
    DataFrame
        `PLACE`, scenario, ``seeds`` (those finished), ``accuracy`` (their mean), ``low``, ``high``: of one seed the
        Wilson interval, of several that of a bootstrap of seeds and cases; NaN where a table has none.
        ``majority_rate``.
    """
    done = runs[runs["status"] == DONE]
    rows = []
    for key, seeds in done.groupby([*PLACE, "scenario"], sort=False):
        names = ["accuracy_low", "accuracy_high"] if len(seeds) == 1 else OVER_SEEDS
        low, high = seeds[names].iloc[0]
        rows.append(
            dict(zip([*PLACE, "scenario"], key, strict=True))
            | {"seeds": len(seeds), "accuracy": seeds["accuracy"].mean(), "low": low, "high": high}
            | {"majority_rate": seeds["majority_rate"].iloc[0]}
        )
    columns = [*PLACE, "scenario", "seeds", "accuracy", "low", "high", "majority_rate"]
    return pd.DataFrame(rows, columns=columns)


def pareto_frontier(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Find the points that no other beats: none is at least as cheap and as accurate, and better in one of the two.

    Parameters
    ----------
    cost, accuracy : ndarray of float, shape (n_points,)

    Returns
    -------
    ndarray of bool, shape (n_points,)
        Points with equal cost and accuracy are all on the frontier, or none of them is.
    """
    cost, accuracy = np.asarray(cost, dtype=float), np.asarray(accuracy, dtype=float)
    # From the cheapest, of equally cheap ones from the most accurate: each has to beat the best before it.
    order = np.lexsort((-accuracy, cost))
    on_frontier = np.zeros(len(cost), dtype=bool)
    best, best_cost = -np.inf, np.nan
    for index in order:
        if accuracy[index] > best or (accuracy[index] == best and cost[index] == best_cost):
            on_frontier[index] = True
            best, best_cost = accuracy[index], cost[index]
    return on_frontier

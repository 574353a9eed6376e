"""Names of the baselines. Imports nothing heavy: the workflow reads this while it plans."""

from __future__ import annotations

from dataclasses import dataclass

#: Methods that see the series alone.
SERIES_BASELINES = (
    "majority",
    "euclidean_1nn",
    "dtw_1nn",
    "minirocket",
    "multirocket_hydra",
    "fcn",
)
#: Methods that see features of an untuned model: of its vision tower, of its language model.
PROBES = ("logistic_tower", "logistic_language")
BASELINES = SERIES_BASELINES + PROBES

#: Random choices of the methods that make any (kernels, weights, order of training).
SEED = 0


@dataclass(frozen=True)
class BaselineKey:
    """One baseline on one dataset.

    Attributes
    ----------
    baseline : str
    dataset : str
    protocol : {"official", "pooled"}
    model : str
        Whose features a probe takes; empty for a method that sees the series alone.
    """

    baseline: str
    dataset: str
    protocol: str
    model: str = ""

    @property
    def folder(self) -> str:
        """Folder of its results below the results folder."""
        place = f"probes/{self.model}" if self.model else "baselines"
        return f"{place}/{self.dataset}/{self.protocol}/{self.baseline}"

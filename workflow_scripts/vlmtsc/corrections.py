"""Pairs of runs that differ in one fault of the original. Imports nothing heavy: Snakemake reads it at each start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vlmtsc.paths import Run
from vlmtsc.settings import Correction

#: Faults that change nothing on some datasets, which the conversations show. The others always change something, or act
#: after conversations are built.
MAY_CHANGE_NOTHING = ("merged_labels", "first_case_factor")


@dataclass(frozen=True)
class Pair:
    """A row of the table of corrections.

    Attributes
    ----------
    switch : str
        The fault.
    without, with_fault : Run
    run : bool
        Whether the configuration asks for the runs.
    """

    switch: str
    without: Run
    with_fault: Run
    run: bool

    @property
    def runs(self) -> tuple[Run, Run]:
        """The run without the fault and the run with it."""
        return self.without, self.with_fault


def correction_pairs(
    corrections: Iterable[Correction], models: Iterable[str], protocol: str, seeds: Iterable[int]
) -> list[Pair]:
    """Return all combinations of models, datasets named by any correction, corrections and seeds.

    Parameters
    ----------
    corrections : iterable of Correction
        A correction is run on its own datasets; on the others a row states that it is not.
    models : iterable of str
    protocol : str
    seeds : iterable of int
    """
    corrections, seeds = list(corrections), list(seeds)
    datasets = dict.fromkeys(name for correction in corrections for name in correction.datasets)
    return [
        Pair(
            switch=correction.switch,
            without=Run(model, dataset, protocol, correction.scenario, seed),
            with_fault=Run(model, dataset, protocol, f"{correction.scenario}__{correction.switch}", seed),
            run=dataset in correction.datasets,
        )
        for model in models
        for dataset in datasets
        for correction in corrections
        for seed in seeds
    ]

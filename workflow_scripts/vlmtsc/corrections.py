"""Which runs the table of corrections compares: a scenario with and without one fault of the original."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vlmtsc.configuration import Configuration
from vlmtsc.paths import Run

#: Faults that change nothing in some datasets, which shows in the conversations; the others always change
#: something, or act after conversations are made.
MAY_CHANGE_NOTHING = ("merged_labels", "first_case_factor")


@dataclass(frozen=True)
class Pair:
    """A row of the table: two runs that differ in one fault.

    Attributes
    ----------
    switch : str
        The fault.
    model, dataset, protocol : str
    seed : int
    without, with_fault : str
        Scenarios.
    run : bool
        Whether the runs are asked for.
    """

    switch: str
    model: str
    dataset: str
    protocol: str
    seed: int
    without: str
    with_fault: str
    run: bool

    @property
    def runs(self) -> tuple[Run, Run]:
        """The run without the fault, and the run with it."""
        key = (self.model, self.dataset, self.protocol)
        return Run(*key, self.without, self.seed), Run(*key, self.with_fault, self.seed)

    @property
    def conversations(self) -> tuple[str, str]:
        """Folders below the results folder that tell whether the fault changes anything; see `MAY_CHANGE_NOTHING`."""
        place = f"conversations/{self.model}/{self.dataset}/{self.protocol}"
        return f"{place}/{self.without}", f"{place}/{self.with_fault}"

    def settings(self) -> dict[str, Any]:
        """Return this as a plain dictionary."""
        return asdict(self)


def correction_pairs(configuration: Configuration) -> list[Pair]:
    """List the rows of the table: each dataset that a correction names by each correction.

    A correction is run on its own datasets only; on the others a row says that it was not.
    """
    corrections = configuration.corrections
    datasets = dict.fromkeys(name for correction in corrections for name in correction.datasets)
    return [
        Pair(
            switch=correction.switch,
            model=model,
            dataset=dataset,
            protocol=configuration.protocol,
            seed=seed,
            without=correction.scenario,
            with_fault=f"{correction.scenario}__{correction.switch}",
            run=dataset in correction.datasets,
        )
        for model in configuration.models
        for dataset in datasets
        for correction in corrections
        for seed in configuration.seeds
    ]

"""Paths of artifacts below a results folder, and the keys that name runs and baselines."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, order=True)
class Run:
    """One fine-tuning and its evaluation: one row of the tables."""

    model: str
    dataset: str
    protocol: str
    scenario: str
    seed: int

    def __str__(self) -> str:
        """Return the run's folder below ``runs/``."""
        return f"{self.model}/{self.dataset}/{self.protocol}/{self.scenario}/seed-{self.seed}"


@dataclass(frozen=True)
class BaselineKey:
    """One baseline on one dataset; `model` is the one whose features a probe uses, empty without."""

    baseline: str
    dataset: str
    protocol: str
    model: str = ""


def plot_file_name(case: int) -> str:
    """Return the file name of a plot in its folder; `case` is the position in the series file."""
    return f"case-{case:05d}.png"


#: Keys whose fields are Snakemake's wildcards: they turn a path into a rule's pattern.
RUN = Run(*(f"{{{field.name}}}" for field in fields(Run)))  # type: ignore[arg-type]
BASELINE = BaselineKey("{baseline}", "{dataset}", "{protocol}")
PROBE = BaselineKey("{baseline}", "{dataset}", "{protocol}", "{model}")


@dataclass(frozen=True)
class Paths:
    """Paths of artifacts below the folder `results`, as text, relative if that is.

    A key is anything with the attributes that a path names: a `Run`, a `BaselineKey`, Snakemake's wildcards, or one
    of the patterns `RUN`, `BASELINE`, `PROBE`.
    """

    results: str

    def dataset(self, key: Any) -> str:
        """Folder of a dataset: archive, series, facts."""
        return f"{self.results}/datasets/{key.dataset}"

    def split(self, key: Any) -> str:
        """Folder of a dataset's split under a protocol."""
        return f"{self.dataset(key)}/{key.protocol}"

    def plots(self, key: Any, plot: str) -> str:
        """Folder of a dataset's plots of one kind."""
        return f"{self.results}/plots/{key.dataset}/{plot}"

    def features(self, key: Any, plot: str) -> str:
        """File of the features of a dataset's plots from a model's vision tower."""
        return f"{self.results}/features/{key.model}/{key.dataset}/{plot}.npy"

    def descriptions(self, key: Any, place: str) -> str:
        """File of a dataset's descriptions; `place` is describer and kind (``template/rationale``)."""
        return f"{self.results}/descriptions/{key.dataset}/{place}.json"

    def model(self, name: str) -> str:
        """Folder of a checkpoint that a rule makes."""
        return f"{self.results}/models/{name}"

    def model_parts(self, name: str) -> str:
        """Folder of the parts that a checkpoint is assembled from."""
        return f"{self.results}/model_parts/{name}"

    def conversations(self, key: Any) -> str:
        """Folder of a scenario's conversations."""
        return f"{self.results}/conversations/{key.model}/{key.dataset}/{key.protocol}/{key.scenario}"

    def scenario_plots(self, key: Any) -> str:
        """Folder of plots of downsampled series, which depend on the scenario."""
        return f"{self.conversations(key)}/plots"

    def run(self, key: Any) -> str:
        """Folder of a run: adapter, log, record, predictions, metrics, controls."""
        return f"{self.results}/runs/{key.model}/{key.dataset}/{key.protocol}/{key.scenario}/seed-{key.seed}"

    def checkpoints(self, key: Any) -> str:
        """Folder of a run's checkpoints: outside the outputs, which Snakemake removes when a job fails."""
        return self.run(key).replace(f"{self.results}/", f"{self.results}/checkpoints/", 1)

    @property
    def shared_runs(self) -> str:
        """Folder of the index of trainings that runs share."""
        return f"{self.results}/shared_runs"

    @property
    def tracking(self) -> str:
        """Folder of the files of TensorBoard and Weights & Biases."""
        return f"{self.results}/tracking"

    def baseline(self, key: Any) -> str:
        """Folder of a baseline's or, if the key names a model, of a probe's results."""
        place = f"probes/{key.model}" if getattr(key, "model", "") else "baselines"
        return f"{self.results}/{place}/{key.dataset}/{key.protocol}/{key.baseline}"

    def summary(self, key: Any) -> str:
        """Folder of the tables of one model, dataset and protocol."""
        return f"{self.results}/tables/by_dataset/{key.model}/{key.dataset}/{key.protocol}"

    def case_figures(self, key: Any) -> str:
        """Folder of the figures of a dataset's cases."""
        return f"{self.results}/figures/by_dataset/{key.dataset}/{key.protocol}"

    def table(self, name: str) -> str:
        """File in the folder of tables over all datasets."""
        return f"{self.results}/tables/{name}"

    def figure(self, name: str) -> str:
        """File in the folder of figures over all datasets."""
        return f"{self.results}/figures/{name}"

    def provenance(self, name: str) -> str:
        """File in the folder of provenance."""
        return f"{self.results}/provenance/{name}"

    def methods(self, name: str) -> str:
        """File in the folder of the methods text and of the report's first page."""
        return f"{self.results}/methods/{name}"

    def log(self, rule: str, job: str) -> str:
        """Log of a job; `job` is its wildcards joined by slashes, or ``all``."""
        return f"{self.results}/logs/{rule}/{job}.log"

    def benchmark(self, rule: str, job: str) -> str:
        """Snakemake's benchmark of a job: seconds, memory."""
        return f"{self.results}/benchmarks/{rule}/{job}.tsv"

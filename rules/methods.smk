"""What baselines and comparisons are made of. Functions only."""

from vlmtsc.settings import BASELINES, PROBES, SERIES_BASELINES
from vlmtsc.files import digest_of_files
from vlmtsc.evaluation.constants import DATASETS_NEEDED, METHODS_NEEDED

BASELINE_FILES = ("predictions.csv", "metrics.json", "record.json")
PUBLISHED_OFFICIAL = Path(os.path.relpath(ROOT / "config" / "published_official.tsv")).as_posix()
# What the target `baselines` makes.
BASELINE_KEYS = CONFIGURATION.baseline_keys(CONFIGURATION.asked_baselines())


def digest_of_metrics(folders):
    """A digest of the existing metrics in these folders."""
    files = [Path(folder, "metrics.json") for folder in folders]
    return digest_of_files(file for file in files if file.is_file())


def content_of_runs():
    """A digest of the finished runs, for a table that shows them but does not ask for them."""
    return digest_of_metrics(map(PATHS.run, RUNS))


def content_beside_runs():
    """A digest of existing results that are not selected: other runs of the configuration, other baselines."""
    selected = {*map(PATHS.run, RUNS), *map(PATHS.baseline, COMPARED_KEYS)}
    whole = CONFIGURATION.unrestricted()
    folders = [*map(PATHS.run, whole.runs()), *map(PATHS.baseline, whole.baseline_keys(BASELINES))]
    return digest_of_metrics(folder for folder in folders if folder not in selected)


def matrix_of_runs():
    """The selected runs as options of a command: all combinations."""
    kinds = ("models", "datasets", "scenarios", "seeds")
    return f"{selected_options(*kinds)} --protocol {CONFIGURATION.protocol}"


def probed_folder(wildcards):
    """What a probe's features are computed from: plots, or the conversations of a scenario without them."""
    if wildcards.baseline == "logistic_tower":
        return PATHS.plots(wildcards, CONFIGURATION.probed_plot)
    place = (wildcards.model, wildcards.dataset, wildcards.protocol, CONFIGURATION.probed_scenario)
    return PATHS.conversations(Run(*place, seed=0))


def probed_input(wildcards):
    """The same as files."""
    folder = probed_folder(wildcards)
    if wildcards.baseline == "logistic_tower":
        return folder
    return [f"{folder}/{name}.json" for name in ("train", "validation", "test", "representation")]


COMPARED_KEYS = CONFIGURATION.baseline_keys(CONFIGURATION.baselines)
EXPORTED = ("predictions.csv", "metrics.json")


def compared_baselines(wildcards):
    """The configured baselines of one dataset; of probes, those of one model."""
    keys = [key for key in COMPARED_KEYS if key.dataset == wildcards.dataset]
    return [key for key in keys if key.model in ("", wildcards.model)]


def compared_files(*names):
    """An input function: these files of each of these baselines."""
    return lambda wildcards: [
        f"{PATHS.baseline(key)}/{name}" for key in compared_baselines(wildcards) for name in names
    ]


# Whether there are enough datasets and methods for figures of ranks over datasets.
RANKED = (
    len({run.dataset for run in RUNS}) >= DATASETS_NEEDED
    and len({run.scenario for run in RUNS} | {key.baseline for key in COMPARED_KEYS}) >= METHODS_NEEDED
)

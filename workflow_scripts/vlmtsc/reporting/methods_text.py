"""The methods of finished runs as text for a paper, from their settings and records alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmtsc.data import splits
from vlmtsc.evaluation.calibration import BINS, TEMPERATURES
from vlmtsc.evaluation.control_kinds import FEW_CHANGES, IMAGE_CONTROLS, LEVEL, NUMBER_CONTROLS
from vlmtsc.evaluation.limits import DATASETS_NEEDED, METHODS_NEEDED
from vlmtsc.evaluation.statistics import ALPHA, RESAMPLES
from vlmtsc.reporting.method_words import BASELINES, PACKAGES, recipe_text, source_text
from vlmtsc.reporting.references import Reference, cited_keys, references_of_dataset
from vlmtsc.reporting.scenario_words import describe_scenario
from vlmtsc.reporting.tables import short_count

#: Datasets up to which a text names each with its number.
FEW_DATASETS = 12
NUMBER_NAMES = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class MethodsText:
    """Text in Markdown, with citations in pandoc's form, ``[@key]``.

    Attributes
    ----------
    sections : list of (str, str)
        Title and paragraphs of each.
    datasets : list of dict
        The rows of a table that stands behind the first section.
    added : dict of str to Reference
        Entries for datasets whose citation is not among the known ones.
    """

    sections: list[tuple[str, str]]
    datasets: list[dict[str, str]]
    added: dict[str, Reference]

    @property
    def cited(self) -> list[str]:
        """Keys of the cited works, in the order of their first citation."""
        texts = [text for _, text in self.sections] + [row["citation"] for row in self.datasets]
        return cited_keys(" ".join(texts))


def write_methods(provenance: Mapping[str, Any], references: Mapping[str, Reference]) -> MethodsText:
    """Write the methods of the runs that a provenance holds.

    Parameters
    ----------
    provenance : mapping
        Result of `merge_provenance`.
    references : mapping of str to Reference
        What can be cited.
    """
    rows, added = _dataset_rows(provenance["datasets"], references)
    sections: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("Data", _data),
        ("Representation", _representation),
        ("Model and fine-tuning", _training),
        ("Evaluation", _evaluation),
        ("Controls", _controls),
        ("Baselines", _baselines),
        ("Statistics", _statistics),
        ("Software and hardware", _software),
    ]
    written = [(title, write(provenance)) for title, write in sections]
    return MethodsText([(title, text) for title, text in written if text], rows, added)


def listed(words: Sequence[str]) -> str:
    """Join words: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun: ``three datasets``, ``12 datasets``."""
    name = NUMBER_NAMES[number] if number < len(NUMBER_NAMES) else f"{number:,}"
    return f"{name} {one if number == 1 else many or one + 's'}"


def ranged(values: Sequence[float], write: Callable[[float], str] = lambda value: f"{value:,.0f}") -> str:
    """Write a value, or the smallest and the largest of several: ``120 to 657``."""
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"


def _by_dataset(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list({part["dataset"]: part for part in parts}.values())


def _dataset_rows(
    parts: Sequence[Mapping[str, Any]], references: Mapping[str, Reference]
) -> tuple[list[dict[str, str]], dict[str, Reference]]:
    rows: list[dict[str, str]] = []
    added: dict[str, Reference] = {}
    for part in _by_dataset(parts):
        keys, new = references_of_dataset(part["dataset"], part["citation"], references)
        added |= new
        facts, cases = part["facts"], part["split"]["n_cases"]
        rows.append(
            {
                "dataset": part["dataset"],
                **{name: f"{cases[name]:,}" for name in ("train", "validation", "test")},
                "channels": f"{facts['n_channels']:,}",
                "length": f"{facts['n_timepoints']:,}",
                "classes": f"{facts['n_classes']:,}",
                "citation": f"[{'; '.join(f'@{key}' for key in keys)}]" if keys else "",
            }
        )
    return rows, added


def _data(provenance: Mapping[str, Any]) -> str:
    parts = _by_dataset(provenance["datasets"])
    cases = [part["facts"]["n_cases"] for part in parts]
    text = [
        f"We classify the series of {counted(len(parts), 'dataset')} with {ranged(cases)} cases"
        f"{' each' if len(parts) > 1 else ''} (table of datasets).",
        *_cleaning(parts),
        _split(parts[0]["split"]["settings"]),
    ]
    return " ".join(filter(None, text))


def _cleaning(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what was changed in the series; nothing of what there was no cause for."""
    text = []
    kinds = [
        (
            "values_interpolated",
            "missing value was interpolated linearly",
            "missing values were interpolated linearly",
        ),
        (
            "cases_resampled",
            "series was resampled linearly to the longest",
            "series were resampled linearly to the longest",
        ),
        ("cases_dropped", "case was left out", "cases were left out"),
        ("classes_dropped", "class was left out", "classes were left out"),
    ]
    for key, one, many in kinds:
        found = {part["dataset"]: part["facts"][key] for part in parts}
        numbers = {name: len(value) if isinstance(value, list) else value for name, value in found.items()}
        changed = {name: number for name, number in numbers.items() if number}
        text += [f"In {name}, {counted(number, one, many)}." for name, number in changed.items()]
    if parts[0]["facts"]["settings"]["normalize"]:
        text.append("Each channel of each series was z-normalised.")
    else:
        text.append("Series were not normalised further than the archive's are.")
    return text


def _split(settings: Mapping[str, Any]) -> str:
    if settings["protocol"] == "official":
        return (
            "The split is the archive's own; for validation a stratified share of "
            f"{settings['validation_share']:.0%} of TRAIN was set apart (seed "
            f"{splits._OFFICIAL_VALIDATION_SEED})."
        )
    # Shares and seeds are fixed in the module that splits, as in the paper's code.
    test = splits._POOLED_TEST_SHARE
    validation = (1 - test) * splits._POOLED_VALIDATION_SHARE
    return (
        "The archive's TRAIN and TEST were pooled and divided at random into "
        f"{1 - test - validation:.0%} training, {validation:.0%} validation and {test:.0%} test cases (seeds "
        f"{splits._POOLED_TEST_SEED} and {splits._POOLED_VALIDATION_SEED}), the same for all methods, as in "
        "the code of "
        "[@vlmtsc]. Accuracies on this split cannot be compared with those published on the archive's own."
    )


def _representation(provenance: Mapping[str, Any]) -> str:
    text = [
        "Each series is told to the model in the words of [@vlmtsc] as a user's turn, and the model answers "
        "with the class. "
        "How it is told is called a scenario."
    ]
    told: dict[str, dict[str, Mapping[str, Any]]] = {}
    for part in provenance["datasets"]:
        for name, row in part["scenarios"].items():
            told.setdefault(name, {})[part["dataset"]] = row
    for name, by_dataset in told.items():
        first = next(iter(by_dataset.values()))
        words = describe_scenario(first["scenario"], first["plot"])
        tokens = [row["mean_tokens"] for row in by_dataset.values() if row["mean_tokens"] is not None]
        images = sorted({row["image_tokens"] for row in by_dataset.values() if row["image_tokens"]})
        parts = [f"`{name}`: {words}"]
        if first["scenario"]["modality"] != "plot":
            parts.append(_factors({dataset: row["factor"] for dataset, row in by_dataset.items()}))
        if tokens:
            of_image = (
                f", of which the image takes {listed([str(count) for count in images])}" if images else ""
            )
            parts.append(f"A case takes {ranged(tokens)} tokens in the mean{of_image}.")
        text.append(" ".join(parts))
    return "\n\n".join(text)


def _factors(factors: Mapping[str, int]) -> str:
    if len(set(factors.values())) == 1:
        return f"The factor is {next(iter(factors.values()))}."
    if len(factors) > FEW_DATASETS:
        return f"The factor is {ranged(list(factors.values()))}, depending on the dataset."
    return f"The factor is {listed([f'{factor} for {name}' for name, factor in factors.items()])}."


def _training(provenance: Mapping[str, Any]) -> str:
    rows, paragraphs = provenance["configuration"]["models"], []
    for model, files in provenance["models"].items():
        runs = [run for run in provenance["runs"] if run["model"] == model]
        parameters = {(run["total_parameters"], run["trainable_parameters"]) for run in runs}
        total = ranged([pair[0] / 1e6 for pair in parameters])
        trained = ranged([pair[1] / 1e6 for pair in parameters], lambda value: f"{value:.1f}")
        numbers = sorted({run["recipe"] for run in runs})
        recipes = [provenance["recipes"][number - 1] for number in numbers]
        text = [source_text(model, rows[model]["source"], files["architecture"])]
        text += [recipe_text(recipe) for recipe in recipes[:1]]
        if len(recipes) > 1:
            text.append(
                f"Runs of this model have {counted(len(recipes), 'recipe')}; this is the first, and the others "
                "are in the "
                "provenance of the results."
            )
        text.append(f"Of {total} million parameters, adapters included, {trained} million are trained.")
        seeds = sorted({run["seed"] for run in runs})
        if len(seeds) == 1:
            text.append(f"Each combination was trained once (seed {seeds[0]}).")
        else:
            text.append(
                f"Each combination was trained with the seeds {listed([str(seed) for seed in seeds])}."
            )
        paragraphs.append(" ".join(text))
    return "\n\n".join(paragraphs)


def _evaluation(provenance: Mapping[str, Any]) -> str:
    asked = provenance["configuration"]["options"]["evaluate"]
    text = [
        "A case is classified by the log-likelihood of each class's whole answer, all of its tokens added up; "
        "the highest is "
        "the prediction, and the softmax of these scores the class probabilities. The end token counts only "
        "where one answer "
        "is the beginning of another.",
        "Settings, and the scenario that stands for a dataset, were chosen on validation accuracy (on a tie, "
        "validation "
        "loss); the test part was scored once, afterwards.",
        f"Calibration is the expected calibration error of the top class in {BINS} bins of equal width "
        "[@calibration] and "
        "Brier's score over all classes [@brier].",
    ]
    if asked["temperature"]:
        low, high = TEMPERATURES
        text.append(
            f"One temperature a run, between {low:g} and {high:g}, was fitted to the log-loss of the "
            "validation part "
            "[@calibration]; predictions do not depend on it."
        )
    if asked["generate"]:
        text.append(
            "The models also answered freely, by greedy decoding; a text counts only if it is a class's answer "
            "and the model "
            "has ended it."
        )
    return " ".join(text)


def _controls(provenance: Mapping[str, Any]) -> str:
    if not provenance["configuration"]["options"]["evaluate"]["controls"]:
        return ""
    names = {
        "image_blank": "a white picture",
        "image_swapped": "the picture of another case, of another class as far as possible",
        "numbers_shuffled": "the same numbers in another order",
        "numbers_removed": "no numbers",
    }
    used = {
        row["scenario"]["modality"] for part in provenance["datasets"] for row in part["scenarios"].values()
    }
    kinds = [
        *(IMAGE_CONTROLS if used - {"numbers"} else ()),
        *(NUMBER_CONTROLS if used - {"plot"} else ()),
    ]
    return (
        "Each fine-tuned model was scored again, without training anew, with one input spoilt at a time: "
        f"{listed([names[kind] for kind in kinds])}. An input counts as not used if the accuracy does not "
        "differ "
        f"(McNemar's exact test [@mcnemar] on the same cases, p of at least {LEVEL:g}) and at most "
        f"{FEW_CHANGES:.0%} of the "
        "predictions change."
    )


def _baselines(provenance: Mapping[str, Any]) -> str:
    found: dict[str, set[int]] = {}
    for part in provenance["datasets"]:
        for record in part["baselines"]:
            found.setdefault(record["baseline"], set()).add(record["seed"])
    if not found:
        return ""
    seeds = sorted(set.union(*found.values()))
    methods = "; ".join(BASELINES[name]() for name in found)
    return (
        f"On the same splits we fitted {methods}. Every method was fitted on the training part alone, its own "
        "choices were "
        f"made on the validation part, and the test part was scored once. Random choices have the seed "
        f"{listed([str(seed) for seed in seeds])}."
    )


def _statistics(provenance: Mapping[str, Any]) -> str:
    runs = provenance["runs"]
    level = f"{1 - ALPHA:.0%}"
    several = len({run["seed"] for run in runs}) > 1
    methods = {run["scenario"] for run in runs} | {
        record["baseline"] for part in provenance["datasets"] for record in part["baselines"]
    }
    datasets = {run["dataset"] for run in runs}
    if several:
        text = [
            f"Accuracies are means over the seeds with their standard deviation, and intervals are {level} "
            "intervals of a "
            f"bootstrap [@bootstrap] of {RESAMPLES:,} resamples of seeds and of cases within each class."
        ]
    else:
        text = [f"Intervals of accuracies are {level} Wilson score intervals [@wilson]."]
    if len(methods) > 1:
        text.append(
            "Methods are compared on the same test cases by McNemar's exact test [@mcnemar], with Holm's "
            "correction [@holm] for the tests of "
            f"a dataset; intervals of differences come from a bootstrap [@bootstrap] of {RESAMPLES:,} "
            "resamples of the same "
            "cases for both."
        )
    if several and len(methods) > 1:
        text.append("With several seeds the test takes the first seed of each method.")
    if len(datasets) >= DATASETS_NEEDED and len(methods) >= METHODS_NEEDED:
        text.append(
            "Over datasets, all pairs of methods are compared by two-sided Wilcoxon signed-rank tests "
            "[@wilcoxon] with Holm's "
            "correction, and their ranks are drawn as in [@demsar], with aeon [@aeon]."
        )
    return " ".join(text)


def _software(provenance: Mapping[str, Any]) -> str:
    workflow, environments = provenance["workflow"], provenance["environments"]
    if not environments:
        return ""
    named = []
    for key, name, citation in PACKAGES:
        versions = dict.fromkeys(each["versions"][key] for each in environments if key in each["versions"])
        named += [f"{name} {listed(list(versions))}{citation}"] if versions else []
    machines = list(dict.fromkeys(_machine(environment["hardware"]) for environment in environments))
    runs = [run for run in provenance["runs"] if not run["shared_with"]]
    hours = sum(run["wall_seconds"] for run in runs) / 3600
    took = f"{hours:.1f} hours" if hours >= 2 else f"{60 * hours:.0f} minutes"
    revisions = list(dict.fromkeys(run["git_revision"] for run in provenance["runs"]))
    tokens = sum(run["train_tokens"] for run in runs)
    return (
        f"All steps are rules of a Snakemake workflow [@snakemake] (vlmtsc {workflow['version']}, "
        f"{'revision' if len(revisions) == 1 else 'revisions'} {listed([f'`{name}`' for name in revisions])}). "
        "It ran "
        f"with {listed(named)}, on {listed(machines)}. {counted(len(runs), 'fine-tuning').capitalize()} took "
        f"{took} in all "
        f"and {short_count(tokens)} training tokens."
    )


def _machine(hardware: Mapping[str, Any]) -> str:
    if hardware["gpus"]:
        return f"{listed(hardware['gpus'])} with {hardware['memory_gib']:.0f} GiB of main memory"
    threads = counted(hardware["threads"], "thread")
    memory = f"{hardware['memory_gib']:.0f} GiB of memory"
    return f"{hardware['processor']} ({hardware['cores']} cores, {threads} a run, no GPU, {memory})"

"""Calculate what the archive costs with a model of seven billion parameters; print Markdown tables for docs/scale.md.

    python benchmarks/scale_plan.py

128 datasets of config/archive.yaml x 12 scenarios x 5 seeds with the recipe of llava-1.5-7b. Nothing is run. Each
figure is one of three: **exact** (from shapes, tables and rules), **measured** (a constant of `MEASURED`, with its
source), or **assumed** (a constant of `ASSUMED`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import ROOT

from vlmtsc.configuration import load_configuration_files
from vlmtsc.reporting.costs import forward_flops, training_flops

MODEL, SEEDS, CONFIGURATION = "llava-1.5-7b", 5, Path("config/archive.yaml")
#: Those that fit the model: 576 image tokens leave no room in contexts of 256.
SCENARIOS = (
    "numbers",
    "numbers_lttb",
    "with_stats",
    "BASELINE_2048",
    "BASELINE_4096",
    "WITH_STATS_2048",
    "WITH_STATS_4096",
    "BASELINE_2048_adaptive_ds",
    "BASELINE_2048_adaptive_ds_plot_ds",
    "WITH_SIGNAL_ANALYSIS",
    "WITH_RATIONALE",
    "rationale_after_answer",
)

#: Measured on this workflow, with the source of each.
MEASURED = {
    "png_bytes": 10_000,  # one channel; plots of the default run, mean of a folder 9.3 and 10.1 kB
    "conversation_bytes": 350,  # a case without its numbers; the default run's `plot` of ItalyPowerDemand
    "prediction_bytes": 34,  # a test case and class; predictions.csv of GunPoint and BasicMotions
    "record_bytes": 20_000,  # a run's other files, logs and benchmarks
    "images_per_cpu_second": 1_237,  # docs/performance.md, rendering, one channel
    "values_per_cpu_second": 5_000 * 1_600 / 6.35,  # docs/performance.md, budget and conversations, decimals
    "conversation_job_seconds": 1.02,  # docs/performance.md, overhead of build_conversations
    "run_job_seconds": 3.51 + 3.88,  # docs/performance.md, overhead of finetune_model and evaluate_model
    "submissions_per_hour": 1_400,  # the SLURM plugin waits 5 s before each sbatch and sends two at a time
}
#: Assumed, since no GPU and no tokenizer of the model could be had.
ASSUMED = {
    "peak_flops": 989e12,  # H100, dense bfloat16, its maker's data sheet
    # Share of the peak: half of what text-only LoRA of 7-8B models reaches on an H100, and what it reaches
    # (41% for Llama 3 8B, 43% for Qwen2.5 7B; NeMo AutoModel, sequences of 4,096).
    "utilisation": (0.20, 0.43),
    "tokens_a_value": {"decimals": 5, "scaled": 3, "none": 0},  # Llama's tokenizer splits numbers into digits
    "prompt_tokens": 100,  # system prompt, question, answer
    "described_tokens": 250,  # statistics or a paragraph in the question or the answer
    "load_seconds": 60,  # reading and placing 14 GB, for each job
    "zip_share": 0.4,  # size of a compressed text file of an archive's dataset
    "text_bytes_a_value": 10,  # in that file
}


@dataclass(frozen=True)
class Shape:
    """What of LLaVA 1.5's shape decides on its costs; the defaults are those of 7B.

    Attributes
    ----------
    layers, hidden, inner, vocabulary : int
        Of the language model. Each layer has four hidden x hidden matrices and three hidden x inner ones.
    tower, tower_hidden, image_tokens : int
        Weights of the vision tower (CLIP ViT-L/14 of 336 pixels), its width, and its patches.
    rank : int
        Of LoRA, on all seven matrices of a layer.
    """

    layers: int = 32
    hidden: int = 4096
    inner: int = 11008
    vocabulary: int = 32064
    tower: int = 303_507_456
    tower_hidden: int = 1024
    image_tokens: int = 576
    rank: int = 128

    @property
    def frozen(self) -> int:
        """Weights of the adapted matrices."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.inner)

    @property
    def lora(self) -> int:
        """Weights of LoRA: rank x (inputs + outputs) of each matrix."""
        return self.layers * self.rank * (4 * 2 * self.hidden + 3 * (self.hidden + self.inner))

    @property
    def projector(self) -> int:
        """Weights of the projector: two linear layers with biases."""
        return (self.tower_hidden + 1) * self.hidden + (self.hidden + 1) * self.hidden

    @property
    def adapter_bytes(self) -> int:
        """An adapter as it is stored: LoRA and the projector in float32."""
        return 4 * (self.lora + self.projector)

    @property
    def checkpoint_bytes(self) -> int:
        """State of a training: the adapter and AdamW's two moments."""
        return 3 * self.adapter_bytes

    @property
    def model_bytes(self) -> int:
        """The model in 16 bits, norms of the language model left out."""
        return 2 * (self.frozen + 2 * self.vocabulary * self.hidden + self.projector + self.tower)


@dataclass(frozen=True)
class Told:
    """How a scenario tells a series of some length.

    Attributes
    ----------
    tokens : int
        Of a sample, image tokens included.
    values : int
        Values that are kept.
    """

    tokens: int
    values: int


def told(row: Mapping[str, Any], length: int, shape: Shape) -> Told:
    """Apply the rule of the token budget: the smallest whole factor with which a sample fits the context.

    Raises
    ------
    ValueError
        If not even one value fits.
    """
    image = shape.image_tokens if row["modality"] in ("plot", "both") else 0
    described = row["context_text"] != "none" or row["target"] != "answer"
    fixed = image + ASSUMED["prompt_tokens"] + described * ASSUMED["described_tokens"]
    each = ASSUMED["tokens_a_value"]["none" if row["modality"] == "plot" else row["numbers"]]
    if not each:
        return Told(fixed, 0)
    room = (int(row["context_length"]) - fixed) // each
    if room < 1:
        raise ValueError(f"{row['name']}: {fixed} tokens besides the values, of {row['context_length']}")
    values = math.ceil(length / math.ceil(length / room))
    return Told(fixed + each * values, values)


@dataclass
class Sum:
    """Sums over all runs, datasets of known size alone.

    Attributes
    ----------
    flops : float
        Of fine-tunings and evaluations.
    train_tokens, evaluation_tokens : float
    conversations, values : float
        Bytes of all conversations, and values told in them.
    predictions, pictures, downloads : float
        Bytes, number, bytes.
    """

    flops: float = 0.0
    train_tokens: float = 0.0
    evaluation_tokens: float = 0.0
    conversations: float = 0.0
    values: float = 0.0
    predictions: float = 0.0
    pictures: float = 0.0
    downloads: float = 0.0

    def times(self, factor: float) -> Sum:
        """Return everything `factor` times."""
        return Sum(**{name: factor * value for name, value in vars(self).items()})


def add_up(
    datasets: Iterable[Mapping[str, Any]], scenarios: Sequence[Mapping[str, Any]], shape: Shape, epochs: int
) -> Sum:
    """Add up samples and what they cost: 60% train twice, 20% validation each epoch and once more, 20% test once."""
    total = Sum()
    downsampled = {row["name"] for row in scenarios if row["plot"].endswith("downsampled")}
    kinds = len({row["plot"] for row in scenarios if row["name"] not in downsampled} - {"none"}) + len(
        downsampled
    )
    for dataset in datasets:
        cases, length = int(dataset["train_size"]) + int(dataset["test_size"]), int(dataset["length"])
        test = -(-cases // 5)
        validation = -(-(cases - test) // 4)
        train = cases - test - validation
        total.pictures += cases * kinds
        total.downloads += cases * length * ASSUMED["text_bytes_a_value"] * ASSUMED["zip_share"]
        for row in scenarios:
            sample = told(row, length, shape)
            trained = SEEDS * epochs * train * sample.tokens
            scored = SEEDS * ((epochs + 1) * validation + test) * sample.tokens
            total.train_tokens += trained
            total.evaluation_tokens += scored
            total.flops += trained * training_flops(shape.frozen, shape.lora)
            total.flops += scored * forward_flops(shape.frozen, shape.lora)
            if row["modality"] != "numbers":  # each picture once a job: features are kept
                seen = train + 2 * validation + test
                total.flops += SEEDS * seen * forward_flops(shape.tower, 0) * shape.image_tokens
            total.values += cases * sample.values
            total.conversations += cases * (
                MEASURED["conversation_bytes"]
                + (ASSUMED["tokens_a_value"][row["numbers"]] + 1) * sample.values
            )
            total.predictions += SEEDS * test * int(dataset["classes"]) * MEASURED["prediction_bytes"]
    return total


#: Files: of a run (adapter 3, parameters, log, record, predictions, metrics, shared_runs 2, two logs, two
#: benchmarks), of a dataset and scenario (five of the conversations, log, benchmark), and Snakemake's record of each
#: output.
RUN_FILES, SCENARIO_FILES, RUN_RECORDS, SCENARIO_RECORDS = 14, 7, 6, 5


def rows(total: Sum, n_datasets: int, n_scenarios: int, shape: Shape) -> list[tuple[str, str, str]]:
    """Write quantity, figure and what it rests on."""
    runs = n_datasets * n_scenarios * SEEDS
    told_apart = n_datasets * n_scenarios
    hours = [total.flops / (ASSUMED["peak_flops"] * share) / 3600 for share in ASSUMED["utilisation"]]
    loads = 2 * runs * ASSUMED["load_seconds"] / 3600
    files = runs * (RUN_FILES + RUN_RECORDS) + told_apart * (SCENARIO_FILES + SCENARIO_RECORDS)
    jobs = 2 * runs + told_apart
    cpu = (
        total.pictures / MEASURED["images_per_cpu_second"] + total.values / MEASURED["values_per_cpu_second"]
    )
    cpu += told_apart * MEASURED["conversation_job_seconds"]
    low, high = ASSUMED["utilisation"]
    return [
        ("fine-tunings", f"{runs:,}", "exact"),
        ("jobs, the few for each dataset left out", f"{jobs:,}", "exact"),
        ("training tokens", f"{total.train_tokens / 1e9:.1f} billion", "assumed: tokens a value"),
        (
            "tokens of validation and test",
            f"{total.evaluation_tokens / 1e9:.1f} billion",
            "assumed: the same",
        ),
        ("operations", f"{total.flops:.2e}", "exact from shapes and tokens"),
        (f"H100 hours at {high:.0%} of the peak", f"{hours[1]:,.0f}", "assumed: utilisation"),
        (f"H100 hours at {low:.0%} of the peak", f"{hours[0]:,.0f}", "assumed: utilisation"),
        (
            f"H100 hours of loading, {ASSUMED['load_seconds']} s a job",
            f"{loads:,.0f}",
            "assumed: a load's time",
        ),
        ("an adapter", f"{shape.adapter_bytes / 1e9:.2f} GB", "exact"),
        (
            "all adapters",
            f"{runs * shape.adapter_bytes / 1e12:.1f} TB",
            "exact, if no two runs have equal inputs",
        ),
        (
            "checkpoints of 100 trainings at once",
            f"{100 * shape.checkpoint_bytes / 1e12:.2f} TB",
            "exact; one each",
        ),
        (
            "plots",
            f"{total.pictures:,.0f} pictures, {total.pictures * MEASURED['png_bytes'] / 1e9:.1f} GB",
            "measured: bytes",
        ),
        (
            "conversations",
            f"{total.conversations / 1e9:.1f} GB",
            "measured: bytes a case; assumed: characters a value",
        ),
        (
            "predictions, records, logs",
            f"{(total.predictions + runs * MEASURED['record_bytes']) / 1e9:.1f} GB",
            "measured: bytes",
        ),
        ("files, plots left out", f"{files:,}", "counted from the rules"),
        ("files of plots, one each", f"{total.pictures:,.0f}", "exact"),
        (
            "files of plots, `plots.store: archive`",
            f"{3 * 2 * n_datasets:,}",
            "exact, two kinds of plot for each dataset",
        ),
        ("download of the model, once", f"{shape.model_bytes / 1e9:.1f} GB", "exact"),
        (
            "download of the datasets, once",
            f"{total.downloads / 1e9:.1f} GB",
            "assumed: bytes a value, compression",
        ),
        (
            "the model read by jobs",
            f"{2 * runs * shape.model_bytes / 1e12:,.0f} TB",
            "exact, without a cache",
        ),
        ("CPU hours of plots and conversations", f"{cpu / 3600:,.1f}", "measured: rates"),
        (
            "CPU hours of starting jobs on runs",
            f"{runs * MEASURED['run_job_seconds'] / 3600:,.1f}",
            "measured: seconds a job",
        ),
        (
            "hours of submitting",
            f"{jobs / MEASURED['submissions_per_hour']:.1f}",
            "measured: submissions an hour",
        ),
    ]


def main() -> None:
    """Print the tables."""
    configuration = load_configuration_files([ROOT / CONFIGURATION], ROOT)
    names = configuration.datasets
    sized = [
        row
        for name in names
        if "train_size" in (row := configuration.dataset_table.get(name, {})) and row["train_size"]
    ]
    scenarios = [configuration.scenario_table[name] for name in SCENARIOS]
    recipe = configuration.model_table[MODEL]["recipe"]
    shape = Shape(rank=recipe["lora_r"])
    total = add_up(sized, scenarios, shape, int(recipe["epochs"])).times(len(names) / len(sized))
    print(
        f"{len(names)} datasets x {len(SCENARIOS)} scenarios x {SEEDS} seeds of {MODEL}; sizes of {len(sized)} "
        f"datasets are known, the other {len(names) - len(sized)} count as their mean.\n"
    )
    print("| what | figure | rests on |\n|---|---|---|")
    for line in rows(total, len(names), len(SCENARIOS), shape):
        print(f"| {' | '.join(line)} |")
    largest = sorted(sized, key=lambda row: -add_up([row], scenarios, shape, recipe["epochs"]).flops)[:3]
    for row in largest:
        one = add_up([row], scenarios, shape, recipe["epochs"]).flops / SEEDS / len(scenarios)
        hours = one / (ASSUMED["peak_flops"] * ASSUMED["utilisation"][0]) / 3600
        print(
            f"\n{row['name']}: {hours:.1f} H100 hours a run at {ASSUMED['utilisation'][0]:.0%}, mean of scenarios."
        )


if __name__ == "__main__":
    main()

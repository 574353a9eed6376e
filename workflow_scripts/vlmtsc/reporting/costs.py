"""What runs cost: time, processors' and GPUs' hours, operations a second, utilisation; computed from run records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.reporting.tables import DONE, AccuracyTable, short_count
from vlmtsc.table_files import read_csv

#: What a GPU's tensor cores reach at most with dense bfloat16 matrices, in FLOP/s, by words that its name holds; the
#: first line that fits counts. The larger figures that makers advertise are of sparse matrices.
PEAKS: list[tuple[tuple[str, ...], float]] = [
    (("H100", "PCIe"), 756e12),
    (("H100", "NVL"), 835e12),
    (("H100",), 989e12),
    (("H200",), 989e12),
    (("A100",), 312e12),
    (("A10",), 125e12),
    (("L40S",), 362e12),
    (("L4",), 121e12),
    (("4090",), 165e12),
]
NOTE = (
    "Of fine-tuning, means over seeds, by the clock: loading, encoding of images and validation are in it, and what "
    "other work took from the machine. CPU hours: clock times threads of all processes; GPU hours: clock times GPUs. "
    "Of a run that was interrupted, what came after its last state is not counted. Memory: the process's largest "
    "resident set. Evaluation: clock of the whole job, measured by Snakemake. FLOP/token: 4 for each frozen weight of "
    "an adapted layer and 6 for each of LoRA's; not counted are layers without LoRA, embeddings, output layer, "
    "attention's products, projector and tower. FLOP/s: FLOP/token times training tokens by the clock, of all devices "
    "together."
)
GPU_MEMORY = "GPU memory: the most that tensors held at once, of the first process."
KNOWN_PEAK = (
    "Utilisation: FLOP/s as a share of what the GPUs reach with dense bfloat16 matrices (data sheets)."
)
NO_PEAK = "Utilisation is not given: there is no sheet that says what this processor reaches at most."
UNKNOWN_GPU = "Utilisation is empty where the peak of the device at the run's precision is not known."
TEXT_COLUMNS = ["model", "protocol", "dataset", "scenario", "device"]


def training_flops(frozen: int, adapted: int) -> int:
    """Return the floating-point operations of a training step for each token: the one definition of this project.

    Parameters
    ----------
    frozen : int
        Weights of the layers with LoRA matrices: 2 operations each in the forward pass, and 2 in the backward pass,
        to the layer's input.
    adapted : int
        Weights of the LoRA matrices: 2 forward, 2 to their input, 2 to their own gradient.
    """
    return 4 * frozen + 6 * adapted


def forward_flops(frozen: int, adapted: int) -> int:
    """Return those of a forward pass: a product and a sum for each weight."""
    return 2 * (frozen + adapted)


def adapter_flops(adapter: Path) -> int | None:
    """Return `training_flops` of an adapter; None if it is not there, since adapters may be removed to save space.

    The matrices' shapes say it all: A is (rank, inputs), B (outputs, rank), so the frozen matrix is (outputs, inputs).

    Parameters
    ----------
    adapter : Path
        Folder that ``finetune_model`` wrote. Only the head of its file is read.

    Raises
    ------
    InputError
        If the file is damaged, or a matrix lacks its partner.
    """
    from safetensors import SafetensorError, safe_open

    weights = adapter / "adapter_model.safetensors"
    if not weights.exists():
        return None
    shapes: dict[str, dict[str, list[int]]] = {}
    try:
        with safe_open(weights, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                layer, matrix, _ = name.partition(".lora_A.")
                layer, matrix = (layer, "A") if matrix else (name.partition(".lora_B.")[0], "B")
                if layer != name:
                    shapes.setdefault(layer, {})[matrix] = file.get_slice(name).get_shape()
    except (OSError, SafetensorError) as error:
        raise InputError(f"{weights}: not an adapter ({error})") from error
    frozen = adapted = 0
    for layer, pair in shapes.items():
        if set(pair) != {"A", "B"}:
            raise InputError(f"{weights}: {layer} has LoRA matrix {', '.join(pair)}; allowed: both A and B")
        (rank, inputs), (outputs, _) = pair["A"], pair["B"]
        frozen += inputs * outputs
        adapted += rank * (inputs + outputs)
    return training_flops(frozen, adapted)


def job_seconds(benchmark: Path) -> float | None:
    """Return the clock's seconds of a job from the file of Snakemake's benchmark; None if that is not there.

    Such files are no inputs: one that was removed to tidy up should not make anything run again.

    Raises
    ------
    InputError
        If the file holds no such number.
    """
    if not benchmark.exists():
        return None
    table = read_csv(benchmark, sep="\t")
    if "s" not in table or table.empty or pd.isna(pd.to_numeric(table["s"], errors="coerce").iloc[-1]):
        raise InputError(f"{benchmark}: no seconds in it; allowed: a benchmark of Snakemake, or no file")
    return float(table["s"].iloc[-1])


def peak_rate(gpu: str, precision: str) -> float | None:
    """Return a GPU's highest rate of dense products in FLOP/s, or None if it is not known.

    Parameters
    ----------
    gpu : str
        Name as the driver gives it, for example "NVIDIA H100 80GB HBM3".
    precision : str
        Of the run: rates are known for bf16 alone.
    """
    if precision != "bf16":
        return None
    words = gpu.replace("-", " ").split()
    return next((rate for needed, rate in PEAKS if all(word in words for word in needed)), None)


def run_costs(
    record: Mapping[str, Any], flops_per_token: int | None, evaluation_seconds: float | None
) -> dict[str, Any]:
    """Compute what a run has cost.

    Parameters
    ----------
    record : mapping
        Content of its ``run_record.json``.
    flops_per_token : int or None
        Of `adapter_flops`.
    evaluation_seconds : float or None
        Of `job_seconds`.

    Returns
    -------
    dict
        With the keys `vlmtsc.reporting.tables.COSTS`; None where something is not known.

    Raises
    ------
    InputError
        If the record does not describe the hardware.
    """
    hardware, seconds = record["hardware"], record["wall_seconds"]
    missing = [name for name in ("processor", "threads", "gpus") if name not in hardware]
    if missing:
        raise InputError(f"run record: hardware lacks {', '.join(missing)}; found {', '.join(hardware)}")
    processes = record.get("processes", 1)
    threads = hardware["threads"] * processes
    # One process drives the GPUs that it sees; of several, each drives one, and sees those of its node.
    gpus = max(processes, len(hardware["gpus"])) if hardware["gpus"] else 0
    held = gpus or threads
    rate = None if flops_per_token is None else flops_per_token * record["train_tokens"] / seconds
    peak = peak_rate(hardware["gpus"][0], record["settings"]["precision"]) if gpus else None
    name = (
        f"{gpus} x {hardware['gpus'][0]}"
        if gpus
        else f"{hardware['processor']}, {counted(threads, 'thread')}"
    )
    return {
        "device": name,
        "peak_gpu_memory_mb": record.get("peak_gpu_memory_mb"),  # earlier runs have not recorded it
        "cpu_hours": seconds * threads / 3600,
        "gpu_hours": seconds * gpus / 3600,
        "evaluation_seconds": evaluation_seconds,
        # An evaluation has one process, so one GPU or one process's threads.
        "compute_seconds": (
            None
            if evaluation_seconds is None
            else seconds * held + evaluation_seconds * (1 if gpus else hardware["threads"])
        ),
        "flops_per_token": flops_per_token,
        "flops_per_second": rate,
        "flops_utilisation": None if rate is None or peak is None else rate / (peak * gpus),
    }


def costs_table(runs: pd.DataFrame) -> AccuracyTable:
    """Write the costs for a reader: a row for each dataset and scenario, means over the finished seeds.

    Parameters
    ----------
    runs : DataFrame
        Tidy table of runs; its order gives the order of rows.
    """
    done = runs[runs["status"] == DONE]
    if done.empty:
        return AccuracyTable(pd.DataFrame(), pd.DataFrame(), "No run is finished.")
    several = [name for name in ("model", "protocol") if runs[name].nunique() > 1]
    devices = list(dict.fromkeys(done["device"].dropna()))
    on_gpus = bool((done["gpu_hours"] > 0).any())
    rows = []
    for key, seeds in done.groupby(["model", "protocol", "dataset", "scenario"], sort=False):
        named = dict(zip(["model", "protocol", "dataset", "scenario"], key, strict=True))
        means = seeds.select_dtypes("number").mean()
        row = {name: named[name] for name in [*several, "dataset", "scenario"]}
        if runs["seed"].nunique() > 1:
            row["seeds"] = str(len(seeds))
        row |= {"minutes": figure(means["wall_seconds"] / 60), "CPU hours": figure(means["cpu_hours"])}
        if on_gpus:
            row["GPU hours"] = figure(means["gpu_hours"])
            row["GPU memory (GiB)"] = figure(means["peak_gpu_memory_mb"] / 1024)
        row |= {
            "memory (GiB)": figure(means["peak_memory_mb"] / 1024),
            "training tokens": short_count(means["train_tokens"]),
            "tokens/s": figure(means["tokens_per_second"]),
            "samples/s": figure(means["samples_per_second"]),
            "evaluation (s)": figure(means["evaluation_seconds"]),
            "FLOP/token": "-" if pd.isna(means["flops_per_token"]) else short_count(means["flops_per_token"]),
            "FLOP/s": "-" if pd.isna(means["flops_per_second"]) else short_count(means["flops_per_second"]),
        }
        if done["flops_utilisation"].notna().any():
            row["utilisation %"] = figure(100 * means["flops_utilisation"])
        if len(devices) > 1:
            row["device"] = " / ".join(dict.fromkeys(seeds["device"].dropna()))
        rows.append(row)
    cells = pd.DataFrame(rows)
    unmarked = pd.DataFrame(False, index=cells.index, columns=cells.columns)
    return AccuracyTable(
        cells, unmarked, " ".join([NOTE, *[GPU_MEMORY] * on_gpus, peak_note(done), total_note(done)])
    )


def peak_note(done: pd.DataFrame) -> str:
    """Say what the column of utilisation holds, or why it is empty."""
    if done["flops_utilisation"].notna().all():
        return KNOWN_PEAK
    return UNKNOWN_GPU if (done["gpu_hours"] > 0).any() else NO_PEAK


def total_note(done: pd.DataFrame) -> str:
    """Add up what finished runs have cost; a training that several runs share counts once."""
    own = done[done["shared_with"].isna()]
    hours = f"{own['cpu_hours'].sum():.3g} CPU hours"
    if (own["gpu_hours"] > 0).any():
        hours += f", {own['gpu_hours'].sum():.3g} GPU hours"
    devices = "; ".join(dict.fromkeys(own["device"].dropna()))
    return (
        f"In all: {counted(len(own), 'fine-tuning')}, {own['wall_seconds'].sum() / 60:.3g} minutes, {hours}, "
        f"{short_count(own['train_tokens'].sum())} training tokens, on {devices}."
    )


def figure(value: float) -> str:
    """Write a quantity with three digits; a dash where there is none."""
    if pd.isna(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: 1 thread, 2 threads."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""Costs of runs: time, processor and GPU hours, operations per second, utilisation; as columns, table and figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlmtsc.errors import InputError
from vlmtsc.files import read_csv
from vlmtsc.reporting import style
from vlmtsc.reporting.runs import BASELINE, DONE, FINE_TUNED
from vlmtsc.reporting.tables import ReaderTable, counted, grouped, joined, short_count, three_digits

#: Peak rate of a GPU's tensor cores for dense bfloat16 matrices, in FLOP/s, by words of its name; the first match
#: counts. Makers advertise larger rates, of sparse matrices.
PEAKS: list[tuple[tuple[str, ...], float]] = [
    (("H100", "PCIe"), 756e12),
    (("H100", "NVL"), 835e12),
    (("H100",), 989e12),
    (("H200", "NVL"), 835e12),
    (("H200",), 989e12),
    (("A100",), 312e12),
    (("A10",), 125e12),
    (("L40S",), 362e12),
    (("L4",), 121e12),
    (("4090",), 165e12),
]
NOTE = (
    "Costs of fine-tuning, means over seeds. Wall-clock time includes loading, image encoding, validation, and "
    "delays by other processes. CPU hours: wall-clock time times threads of all processes; GPU hours: times GPUs. "
    "Work that an interrupted run repeats is not counted. Memory: largest resident set of the process. Evaluation: "
    "wall-clock time of the whole job, measured by Snakemake. FLOP/token: 4 per frozen weight of a layer with LoRA "
    "and 6 per LoRA weight; layers without LoRA, embeddings, output layer, attention products, projector and vision "
    "tower are not counted. FLOP/s: FLOP/token times training tokens by wall-clock time, of all devices together."
)
GPU_MEMORY = "GPU memory: peak of tensors, in the first process."
KNOWN_PEAK = "Utilisation: FLOP/s relative to the peak of dense bfloat16 matrices (data sheets)."
NO_PEAK = "No utilisation: no data sheet states the peak of this processor."
UNKNOWN_GPU = "Utilisation is empty where the device's peak at the run's precision is unknown."
#: Seconds; cheaper points are drawn here.
SHORTEST = 0.01
#: Look of the points of the frontier; a line alone would also seem to contain points that it passes.
RING: dict[str, Any] = {"color": "0.35", "marker": "o", "markersize": 10, "markerfacecolor": "none"}


def training_flops(frozen: int, adapted: int) -> int:
    """Return the floating-point operations of a training step per token: the definition used throughout.

    Of each frozen weight of the layers with LoRA matrices: 2 operations forward, and 2 backward for the gradient of
    the layer's input. Of each weight of the LoRA matrices: 2 more for its own gradient.
    """
    return 4 * frozen + 6 * adapted


def adapter_flops(adapter: Path) -> int | None:
    """Return `training_flops` of an adapter; None if it was removed to save space.

    A has shape (rank, inputs) and B (outputs, rank), so the frozen matrix has shape (outputs, inputs). Only the
    header of the file is read. InputError if the file is damaged, or a layer has only one of the two matrices.
    """
    from safetensors import SafetensorError, safe_open

    weights = adapter / "adapter_model.safetensors"
    if not weights.exists():
        return None
    shapes: dict[str, dict[str, list[int]]] = {}
    try:
        with safe_open(weights, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                for matrix in "AB":
                    layer, found, _ = name.partition(f".lora_{matrix}.")
                    if found:
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
    """Return the wall-clock seconds in Snakemake's benchmark file of a job; None without the file.

    InputError if the file contains no such number.
    """
    if not benchmark.exists():
        return None
    table = read_csv(benchmark, sep="\t")
    if "s" not in table or table.empty or pd.isna(pd.to_numeric(table["s"], errors="coerce").iloc[-1]):
        raise InputError(f"{benchmark}: no seconds in it; allowed: a benchmark of Snakemake, or no file")
    return float(table["s"].iloc[-1])


def peak_rate(gpu: str, precision: str) -> float | None:
    """Return a GPU's peak rate for dense products in FLOP/s, or None if it is unknown."""
    if precision != "bf16":
        return None
    words = gpu.replace("-", " ").split()
    return next((rate for required, rate in PEAKS if all(word in words for word in required)), None)


def run_costs(
    record: Mapping[str, Any], flops_per_token: int | None, evaluation_seconds: float | None
) -> dict[str, Any]:
    """Return the costs of a run (keys `vlmtsc.reporting.runs.COSTS`), None for unknown ones."""
    hardware, seconds = record["hardware"], record["wall_seconds"]
    processes = record.get("processes", 1)
    threads = hardware["threads"] * processes
    # A single process drives all GPUs that it sees; of several, each drives one and sees those of its node.
    gpus = max(processes, len(hardware["gpus"])) if hardware["gpus"] else 0
    if gpus:
        device = f"{gpus} x {hardware['gpus'][0]}"
        peak = peak_rate(hardware["gpus"][0], record["settings"]["precision"])
    else:
        device, peak = f"{hardware['processor']}, {counted(threads, 'thread')}", None
    rate = None if flops_per_token is None else flops_per_token * record["train_tokens"] / seconds
    compute = None
    if evaluation_seconds is not None:
        # An evaluation has one process: one GPU, or the threads of one process.
        compute = seconds * (gpus or threads) + evaluation_seconds * (1 if gpus else hardware["threads"])
    return {
        "device": device,
        "peak_gpu_memory_mb": record.get("peak_gpu_memory_mb"),
        "cpu_hours": seconds * threads / 3600,
        "gpu_hours": seconds * gpus / 3600,
        "evaluation_seconds": evaluation_seconds,
        "compute_seconds": compute,
        "flops_per_token": flops_per_token,
        "flops_per_second": rate,
        "flops_utilisation": None if rate is None or peak is None else rate / (peak * gpus),
    }


def costs_table(runs: pd.DataFrame) -> ReaderTable:
    """Return the costs of each dataset and scenario, means over the finished seeds."""
    done = runs[runs["status"] == DONE]
    if done.empty:
        return ReaderTable(pd.DataFrame(), "No run is finished.")
    keys = ("model", "protocol", "dataset", "scenario")
    on_gpus = bool((done["gpu_hours"] > 0).any())
    rows = []
    for key, seeds in grouped(done, *keys):
        means = seeds.select_dtypes("number").mean()
        columns = {
            "seeds": str(len(seeds)),
            "minutes": three_digits(means["wall_seconds"] / 60),
            "CPU hours": three_digits(means["cpu_hours"]),
            "GPU hours": three_digits(means["gpu_hours"]),
            "GPU memory (GiB)": three_digits(means["peak_gpu_memory_mb"] / 1024),
            "memory (GiB)": three_digits(means["peak_memory_mb"] / 1024),
            "training tokens": short_count(means["train_tokens"]),
            "tokens/s": three_digits(means["tokens_per_second"]),
            "samples/s": three_digits(means["samples_per_second"]),
            "evaluation (s)": three_digits(means["evaluation_seconds"]),
            "FLOP/token": short_count(means["flops_per_token"]),
            "FLOP/s": short_count(means["flops_per_second"]),
            "utilisation %": three_digits(100 * means["flops_utilisation"]),
            "device": joined(seeds["device"]),
        }
        rows.append(key | columns)
    shown = {
        "seeds": runs["seed"].nunique() > 1,
        **dict.fromkeys(("GPU hours", "GPU memory (GiB)"), on_gpus),
        "utilisation %": done["flops_utilisation"].notna().any(),
        "device": done["device"].nunique() > 1,
    }
    table = pd.DataFrame(rows).drop(columns=[name for name in shown if not shown[name]])
    utilisation = (
        KNOWN_PEAK if done["flops_utilisation"].notna().all() else UNKNOWN_GPU if on_gpus else NO_PEAK
    )
    note = " ".join([NOTE, *[GPU_MEMORY] * on_gpus, utilisation, _total(done)])
    return ReaderTable(table, note, [*keys, "device"])


def _total(done: pd.DataFrame) -> str:
    """Sum the costs of finished runs; a training shared by several runs counts once."""
    own = done[done["shared_with"].isna()]
    minutes = three_digits(own["wall_seconds"].sum() / 60)
    hours = f"{three_digits(own['cpu_hours'].sum())} CPU hours"
    if (own["gpu_hours"] > 0).any():
        hours += f", {three_digits(own['gpu_hours'].sum())} GPU hours"
    return (
        f"In total: {counted(len(own), 'fine-tuning')}, {minutes} minutes, {hours}, "
        f"{short_count(own['train_tokens'].sum())} training tokens, on {joined(own['device'], separator='; ')}."
    )


def pareto_frontier(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Return for which points no other is at least as cheap and as accurate, and better in one of the two.

    All arrays have the shape (n_points,). Points with equal cost and accuracy are all on the frontier, or none is.
    """
    as_cheap, cheaper = cost[:, None] <= cost, cost[:, None] < cost
    as_accurate, more_accurate = accuracy[:, None] >= accuracy, accuracy[:, None] > accuracy
    beats = as_cheap & as_accurate & (cheaper | more_accurate)
    on_frontier: np.ndarray = np.logical_not(np.any(beats, axis=0))
    return on_frontier


def cost_points(runs: pd.DataFrame, methods: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return a point for each run and each other method, and the meaning of its seconds, for the axis.

    If the evaluation time of any run is unknown, seconds are those of training alone. ``majority_rate`` is NaN for
    other methods; ``frontier``: whether a point is on the `pareto_frontier` of its place.
    """
    on_gpus = runs["gpu_hours"] > 0
    complete = bool(runs["compute_seconds"].notna().all())
    training = 3600 * runs["gpu_hours"].where(on_gpus, runs["cpu_hours"])
    seconds = runs["compute_seconds"] if complete else training
    columns = [*style.PLACE, "kind", "method", "seconds", "accuracy", "majority_rate"]
    tuned = runs.assign(kind=FINE_TUNED, method=runs["scenario"], seconds=seconds)[columns]
    others = methods[(methods["kind"] != FINE_TUNED) & methods["wall_seconds"].notna()]
    others = others.assign(seconds=others["wall_seconds"], majority_rate=float("nan"))[columns]
    points = pd.concat([tuned, others] if len(others) else [tuned], ignore_index=True)
    points["frontier"] = False
    for _, place in points.groupby(style.PLACE, sort=False):
        best = pareto_frontier(place["seconds"].to_numpy(), place["accuracy"].to_numpy())
        points.loc[place.index, "frontier"] = best
    unit = "CPU seconds"
    if on_gpus.any():
        unit = "GPU seconds" if on_gpus.all() else "GPU or CPU seconds"
        unit += " (baselines: CPU)" if (others["kind"] == BASELINE).any() else ""
    return points, f"{unit},\n{'training and test' if complete else 'training'}"


def draw_accuracy_by_cost(runs: pd.DataFrame, methods: pd.DataFrame) -> Figure:
    """Draw the test accuracy against seconds of processors or GPUs, a panel for each dataset, a point for each run."""
    points, label = cost_points(runs, methods)
    points["seconds"] = points["seconds"].clip(lower=SHORTEST)
    # Fine-tuned methods come first and are filled, the others are hollow.
    kinds = points.drop_duplicates("method").set_index("method")["kind"]
    looks = style.marker_looks(
        list(kinds.sort_values(key=lambda kind: kind != FINE_TUNED, kind="stable").index)
    )
    for name in kinds.index[kinds != FINE_TUNED]:
        looks[name]["markerfacecolor"] = "white"
    places = list(points.groupby(style.PLACE, sort=False))
    low = style.accuracy_floor(points["accuracy"], points["majority_rate"])
    reach = points["seconds"].min() / 1.5, points["seconds"].max() * 1.5
    with style.figure_style():
        panels = style.panel_grid(len(places), 4, (2.2, 1.9), (0.3, 0.95))
        for [axes], (_, of_dataset) in zip(panels.axes, places, strict=True):
            best = of_dataset[of_dataset["frontier"]].sort_values(["seconds", "accuracy"])
            axes.step(
                best["seconds"], 100 * best["accuracy"], where="post", linewidth=1.2, zorder=1.8, **RING
            )
            for name, of_method in of_dataset.groupby("method", sort=False):
                axes.plot(of_method["seconds"], 100 * of_method["accuracy"], markersize=5.5, **looks[name])
            axes.axhline(100 * of_dataset["majority_rate"].max(), **style.MAJORITY)
            style.set_accuracy_axis(axes, "y", low)
            style.set_log_axis(axes, *reach)
            axes.grid(True)
        panels.set_titles(runs, [key for key, _ in places])
        panels.label(label, ["test accuracy (%)"])
        panels.add_legend(
            [
                *(style.legend_entry(name, **look) for name, look in looks.items()),
                style.legend_entry("Pareto frontier", linewidth=1.2, **RING),
                style.legend_entry("majority class", **style.MAJORITY),
            ]
        )
    return panels.figure

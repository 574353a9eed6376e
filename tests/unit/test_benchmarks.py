"""Each benchmark runs at the smallest size, and finds that both sides agree. No time is asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from vlmtsc.configuration import load_configuration_files
from vlmtsc.files import write_json
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.paths import plot_file_name
from vlmtsc.representation.processor import load_processor
from vlmtsc.settings import PlotSettings, ScenarioSettings

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the benchmarks importable."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture(scope="module")
def material(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Give a checkpoint, and conversations and plots of twelve series."""
    from vlmtsc.data.series import CleanSeries
    from vlmtsc.data.splits import SETS
    from vlmtsc.representation.conversations import make_conversations
    from vlmtsc.representation.plots import make_plotter, write_png
    from vlmtsc.representation.processor import image_layout
    from vlmtsc.representation.tokens import TextTokens

    folder = tmp_path_factory.mktemp("material")
    processor = load_processor(tiny_checkpoint)
    values = np.random.default_rng(0).normal(size=(12, 1, 8))
    series = CleanSeries(
        values=values,
        label_index=np.arange(12) % 2,
        classes=np.array(["1", "2"]),
        case_ids=np.array([f"case-{case}" for case in range(12)]),
        n_train=8,
    )
    parts = np.split(np.arange(12), [8, 10])
    made = make_conversations(
        series,
        dict(zip(SETS, parts, strict=True)),
        ScenarioSettings(name="both", modality="both", numbers="scaled", context_length=256),
        PlotSettings(),
        count_tokens=TextTokens(processor.tokenizer).count,
        image_tokens=image_layout(processor, (310, 308), {}).count,
        system_prompt="",
        eos_token=processor.tokenizer.eos_token,
    )
    write_json(folder / "conversations/train.json", made.records["train"])
    made.representation.save(folder / "conversations/representation.json")
    (folder / "plots").mkdir()
    plotter = make_plotter(PlotSettings(), 1)
    for case, each in enumerate(values):
        write_png(plotter.render(each), folder / "plots" / plot_file_name(case))
    return tiny_checkpoint, folder / "conversations", folder / "plots"


def test_rendering() -> None:
    import render

    rows = render.measure(cases=2, rounds=1, length=20)
    assert [row["agreement"] for row in rows] == ["every pixel equal"] * 2
    assert [row["comparison"].split(", ")[1] for row in rows] == ["1 channel of 20", "6 channels of 20"]


def test_finetuning_and_evaluation(
    material: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import evaluate
    import finetune

    recipe = {**finetune.recipe_of("embedded"), "lora_r": 2, "batch_size": 4, "micro_batch_size": 4}
    task = finetune.StoredTask(*material, recipe)
    assert "losses of 2 steps" in finetune.measure(task, steps=2, rounds=1, round_steps=1)["agreement"]
    share = finetune.measure_share(task, rounds=1, steps=1)
    assert share["comparison"] == "operations of a step, both"
    assert re.search(r"a product of \d{2,4} x \d+ x \d+ alone", share["notes"])
    assert "nats in float32" in evaluate.measure(task, cases=4, few=2, rounds=1)["agreement"]
    assert "3 classes" in evaluate.measure_trees(task, cases=2, classes=3, rounds=1)["comparison"]
    with pytest.raises(SystemExit, match=r"scores differ by 1\.0 nats"):
        evaluate.difference(np.zeros(2), np.array([0.0, 1.0]), "bf16")
    monkeypatch.setattr(finetune, "TOLERANCES", {"bf16": 0.0})
    with pytest.raises(SystemExit, match="losses differ"):
        finetune.compare_losses(task, 1, tmp_path)


@pytest.mark.parametrize("rate", [0.0, 1e-3])
def test_both_sides_train_the_same_parameters(
    material: tuple[Path, Path, Path], tmp_path: Path, rate: float
) -> None:
    import finetune
    import trainers

    changes = {"lora_r": 2, "projector_learning_rate": rate, "soft_answers": False, "mixed_share": 0}
    recipe = finetune.recipe_of("embedded") | changes
    task = finetune.StoredTask(*material, recipe)
    trained = [
        {
            name
            for name, parameter in side(task, task.settings, tmp_path)[0].named_parameters()
            if parameter.requires_grad
        }
        for side in (trainers.our_side, trainers.plain_side)
    ]
    assert trained[0] == trained[1]
    assert any("projector" in name for name in trained[0]) == (rate > 0)


def test_gpu_benchmark_at_small_size(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_llava

    (row,) = gpu_llava.measure("small", samples=2, text_tokens=12, rounds=1, micro_batch=2)
    assert "losses of each step within" in row["agreement"]
    # Another image is another loss: the comparison of both sides sees it.
    monkeypatch.setattr(gpu_llava.RandomTask, "pixels", lambda task, positions: -task.images[positions])
    with pytest.raises(SystemExit, match="losses differ"):
        gpu_llava.measure("small", samples=2, text_tokens=12, rounds=1, micro_batch=2)


def test_the_plain_recipe_of_the_gpu_benchmark(tmp_path: Path) -> None:
    import gpu_llava

    settings = gpu_llava.recipe("small", 2).changed(precision="bf16")
    model, make = gpu_llava.plain_recipe(gpu_llava.RandomTask("small", settings, 2, 12), settings, tmp_path)
    trainer = make(1)
    assert trainer.args.mixed_precision == trainer.accelerator.mixed_precision == "bf16"
    trainer.train()
    assert model.get_base_model().is_activation_checkpointing


def test_operations_of_the_full_size() -> None:
    import gpu_llava
    import torch
    import trainers

    from vlmtsc.model.adapter import add_adapter

    config = gpu_llava.configuration("full")
    model = add_adapter(gpu_llava.build(config, torch.device("meta")), gpu_llava.recipe("full", 1))
    frozen = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    adapted = 32 * 128 * (4 * 2 * 4096 + 3 * (4096 + 11008))
    assert trainers.flops_per_token(model) == 4 * frozen + 6 * adapted
    samples, images = gpu_llava.random_samples(config, 1, 2048)
    assert samples.examples[0].tokens == 576 + 2048
    assert images.shape == (1, 3, 336, 336)


def test_pictures(tiny_checkpoint: Path) -> None:
    import pictures

    chosen = pictures.chosen_datasets(load_configuration_files([], ROOT).dataset_table)
    assert chosen[0] == "AllGestureWiimoteX"
    assert {"PhalangesOutlinesCorrect", "PenDigits", "JapaneseVowels"} < set(chosen)
    model = load_checkpoint(tiny_checkpoint, precision="fp32", attention="auto", context_length=0)
    labels = np.arange(20) % 2
    images = [np.full((40, 40, 3), 200 * label + case, dtype=np.uint8) for case, label in enumerate(labels)]
    features = pictures.tower_features(model, load_processor(tiny_checkpoint), images)
    assert pictures.accuracy(features, labels) == 100
    assert pictures.accuracy(np.random.default_rng(0).normal(size=features.shape), labels) < 90


def test_tables_of_all_benchmarks() -> None:
    from measuring import COLUMNS, PAGE, make_row, section

    rate = make_row("a rate", {"ours": 0.5, "reference": 1234.5}, "images/s", "equal")
    time = make_row("a time", {"ours": 0.5, "reference": 1234.5}, "s", "equal")
    result = {"name": "render", "date": "2026-11-25", "processor": "a processor", "revision": "abc"}
    text = section([{**result, "rows": [rate, time]}])
    assert text.startswith(f"| {' | '.join(COLUMNS)} |")
    assert "| a rate | 2.00 images/s | 0.001 images/s | **2,469x** | equal |  |" in text
    assert "| a time | 0.500 s | 1,234 s | **2,469x** | equal |  |" in text
    assert text.endswith("*Run:* `python benchmarks/render.py`, 2026-11-25, on a processor, revision abc.")
    assert "<!-- benchmarks:begin" in PAGE.read_text(encoding="utf-8")


def test_help_lists_the_options() -> None:
    command = [sys.executable, str(BENCHMARKS / "render.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--cases CASES" in done.stdout
    assert "default: 40" in done.stdout

"""The headline: the scenario chosen on validation data, with what to compare it with."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vlmtsc.reporting.comparisons import METHOD_COLUMNS
from vlmtsc.reporting.evidence import SHOWN, headline, to_fragment
from vlmtsc.reporting.runs import FIRST_STAGE, runs_table


def run(dataset: str, scenario: str, validation: float, accuracy: float) -> dict[str, Any]:
    key = {
        "model": "tiny",
        "dataset": dataset,
        "protocol": "pooled",
        "scenario": scenario,
        "seed": 0,
        "status": "done",
    }
    return key | {
        **{"accuracy": accuracy, "accuracy_low": accuracy - 0.05, "accuracy_high": accuracy + 0.05},
        **{"majority_rate": 0.5, "validation_accuracy": validation, "validation_loss": 1.0},
    }


def method(dataset: str, name: str, accuracy: float, kind: str = "baseline") -> dict[str, Any]:
    return {
        "model": "tiny",
        "dataset": dataset,
        "protocol": "pooled",
        "kind": kind,
        "method": name,
        "accuracy": accuracy,
    }


NONE = pd.DataFrame(columns=METHOD_COLUMNS)


def test_the_choice_is_made_on_validation_data_in_the_order_of_the_runs() -> None:
    runs = runs_table(
        [run("B", "plot", 0.6, 0.9), run("B", "numbers", 0.7, 0.8), run("A", "plot", 0.99, 0.7)]
    )
    table, what, note = headline(runs, NONE)
    assert table.to_dict("records") == [
        {"dataset": "B", "chosen": "numbers", "accuracy %": "80.0 [75.0, 85.0]", "majority %": "50.0"},
        {"dataset": "A", "chosen": "plot", "accuracy %": "70.0 [65.0, 75.0]", "majority %": "50.0"},
    ]
    assert what.startswith("3 of 3 runs: 2 datasets, 2 scenarios, 1 model, 1 seed. Model: tiny.")
    assert "baseline" not in note


def test_the_best_baseline_is_shown() -> None:
    runs = runs_table([run("A", "plot", 0.6, 0.9), run("B", "plot", 0.6, 0.9)])
    methods = pd.DataFrame(
        [method("A", "fcn", 0.71), method("A", "dtw_1nn", 0.82), method("A", "plot", 0.99, "fine-tuned")]
    )
    table, _, note = headline(runs, methods)
    assert table["best baseline %"].tolist() == ["82.0 (dtw_1nn)", "-"]
    assert "which favours it" in note


def test_the_first_stage_is_no_baseline() -> None:
    runs = runs_table([run("A", "plot", 0.6, 0.9)])
    first = method("A", "aligned_projector", 0.98, FIRST_STAGE)
    table, _, note = headline(runs, pd.DataFrame([method("A", "fcn", 0.71), first]))
    assert table["best baseline %"].tolist() == ["71.0 (fcn)"]
    table, _, note = headline(runs, pd.DataFrame([first]))
    assert "best baseline %" not in table
    assert "baseline" not in note


def test_the_accuracy_without_each_input_is_shown() -> None:
    runs = runs_table([run("A", "both", 0.6, 0.9), run("B", "plot", 0.6, 0.9)])
    left = {
        "image_swapped": 0.1,
        "image_blank": 0.5,
        "numbers_removed": 0.8,
        "numbers_shuffled": 0.85,
        "intact": 0.9,
    }
    key = {"model": "tiny", "dataset": "A", "protocol": "pooled", "scenario": "both", "seed": 0}
    controls = pd.DataFrame([{**key, "control": name, "accuracy": value} for name, value in left.items()])
    table, _, note = headline(runs, NONE, controls)
    assert table["accuracy without input %"].tolist() == [
        "image 10.0, numbers 80.0, order of numbers 85.0",
        "-",
    ]
    assert "the image of another case" in note


def test_a_long_table_is_cut_with_a_note() -> None:
    runs = runs_table([run(f"D{number}", "plot", 0.5, 0.5) for number in range(SHOWN + 4)])
    text = to_fragment(*headline(runs, NONE))
    assert text.count("<tr>") == SHOWN + 1
    assert f"The first {SHOWN} of {SHOWN + 4} rows" in text


def test_the_fragment_is_escaped_and_has_no_blank_line() -> None:
    runs = runs_table([run("A", "<plot> & more", 0.5, 0.5)])
    text = to_fragment(*headline(runs, NONE))
    assert "&lt;plot&gt; &amp; more" in text
    assert "\n\n" not in text

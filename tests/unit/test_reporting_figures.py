"""Figures of runs against each other: what is drawn is what the tables say."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from finished_runs import summarised, write_controls, write_run
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from draw_figures import draw_figures
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import BINS, compute_metrics, prediction_table
from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.ablation import (
    context_points,
    draw_accuracy_by_context,
    draw_modality_ablation,
    same_but_context,
    scenario_points,
)
from vlmtsc.reporting.calibration import (
    AS_SCORED,
    ERRORS,
    RELIABILITY_COLUMNS,
    draw_calibration,
    pool_seeds,
    reliability_rows,
)
from vlmtsc.reporting.comparisons import METHOD_COLUMNS
from vlmtsc.reporting.costs import cost_points, draw_accuracy_by_cost, pareto_frontier
from vlmtsc.reporting.figures import draw_accuracy_heatmap, draw_confusion_matrices, draw_training_curves
from vlmtsc.reporting.ledger import COLUMNS as LEDGER_COLUMNS
from vlmtsc.reporting.runs import FIRST_STAGE, RUN_COLUMNS, accuracy_text, runs_table
from vlmtsc.reporting.style import line_looks, panel_grid, wrapped

PLACE = {"model": "m", "protocol": "pooled", "dataset": "Italy"}
SCENARIOS: dict[str, dict[str, Any]] = {
    "both_4096": {"name": "both_4096", "modality": "both", "context_length": 4096},
    "plot": {"name": "plot", "modality": "plot", "context_length": 256},
    "numbers": {"name": "numbers", "modality": "numbers", "context_length": 192},
    "both_2048": {"name": "both_2048", "modality": "both", "context_length": 2048},
}
TOKENS = {"plot": 72.0, "numbers": 150.0, "both_2048": 600.0, "both_4096": 900.0}


def run(
    scenario: str, accuracy: float, seed: int = 0, seconds: float = 100.0, **others: Any
) -> dict[str, Any]:
    """Return the row of a finished run."""
    values = {"accuracy_low": accuracy - 0.05, "accuracy_high": accuracy + 0.02, "majority_rate": 0.5}
    values |= {"cpu_hours": seconds / 3600, "gpu_hours": 0.0, "compute_seconds": seconds + 10}
    keys = PLACE | {"scenario": scenario, "seed": seed, "status": "done", "accuracy": accuracy}
    return dict.fromkeys(RUN_COLUMNS) | keys | values | others


@pytest.fixture
def runs() -> pd.DataFrame:
    """Three seeds of one scenario, one of two others."""
    bounds = {"accuracy_low_over_seeds": 0.71, "accuracy_high_over_seeds": 0.93}
    rows = [run("both_4096", accuracy, seed, **bounds) for seed, accuracy in enumerate([0.9, 0.8, 0.7])]
    return runs_table([*rows, run("plot", 0.95, seconds=40), run("numbers", 0.6)])


@pytest.fixture
def ledger() -> pd.DataFrame:
    """Tokens of the scenarios."""
    rows = [
        dict.fromkeys(LEDGER_COLUMNS)
        | PLACE
        | {"scenario": name, "mean tokens": tokens, "context": SCENARIOS[name]["context_length"]}
        for name, tokens in TOKENS.items()
    ]
    return pd.DataFrame(rows)


def intervals(axis: Axes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each drawn interval: the place (x, y) of its mark, and the two ends of its bar."""
    found = []
    for container in axis.containers:
        assert isinstance(container, ErrorbarContainer)
        mark, _, [bar] = container.lines
        found.append((np.array(mark.get_xydata())[0], bar.get_segments()[0]))
    return found


def majority_line(axis: Axes, direction: str) -> list[float]:
    """Return the places of dashed lines."""
    dashed = [line for line in axis.lines if line.get_linestyle() == "--"]
    return [getattr(line, f"get_{direction}data")()[0] for line in dashed]


def test_points_are_those_of_the_accuracy_table(runs: pd.DataFrame) -> None:
    points = scenario_points(runs).set_index("scenario")
    assert list(points.index) == ["both_4096", "plot", "numbers"]
    for name, point in points.iterrows():
        text = accuracy_text(runs[runs["scenario"] == name])
        assert text.startswith(f"{100 * point['accuracy']:.1f} ")
        assert f"[{100 * point['low']:.1f}, {100 * point['high']:.1f}]" in text
    assert points["seeds"].to_list() == [3, 1, 1]


def test_the_ablation_shows_intervals_seeds_and_the_majority_class(runs: pd.DataFrame) -> None:
    figure = draw_modality_ablation(runs, SCENARIOS)
    [axis] = figure.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["plot", "numbers", "both_4096"]
    assert axis.get_title() == "Italy"
    for (mark, ends), (place, accuracy, low, high) in zip(
        intervals(axis), [(0, 95, 90, 97), (1, 60, 55, 62), (2, 80, 71, 93)], strict=True
    ):
        assert mark == pytest.approx([accuracy, place])
        assert ends[:, 0] == pytest.approx([low, high])
    [seeds] = [line for line in axis.lines if len(line.get_xdata()) == 3]
    assert seeds.get_xdata() == pytest.approx([90, 80, 70])
    assert majority_line(axis, "x") == [50]
    low, high = axis.get_xlim()
    assert low < 50 < 100 < high
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["plot alone", "numbers alone", "plot and numbers", "one seed", "majority class"]


def test_scenarios_are_sorted_by_modality_and_keep_their_order() -> None:
    rows = [run(name, 0.75) for name in ("both_2048", "both_4096", "numbers", "plot")]
    [axis] = draw_modality_ablation(runs_table(rows), SCENARIOS).axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == ["plot", "numbers", "both_2048", "both_4096"]


def test_accuracy_stands_at_the_tokens_of_the_ledger(runs: pd.DataFrame, ledger: pd.DataFrame) -> None:
    runs = pd.concat([runs, runs_table([run("both_2048", 0.75)])], ignore_index=True)
    [axis] = draw_accuracy_by_context(runs, ledger, SCENARIOS).axes
    found = {tuple(mark.round(9)): ends[:, 1] for mark, ends in intervals(axis)}
    assert set(found) == {(72, 95), (150, 60), (600, 75), (900, 80)}
    assert found[900, 80] == pytest.approx([71, 93])
    dotted = [list(line.get_xdata()) for line in axis.lines if line.get_linestyle() == ":"]
    assert sorted(dotted) == [[72, 256], [150, 192], [600, 2048], [900, 4096]]
    # The two that differ in their context length alone are joined, from the shorter to the longer.
    [joined] = [line for line in axis.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]
    assert joined.get_xydata().ravel() == pytest.approx([600, 75, 900, 80])
    assert majority_line(axis, "y") == [50]
    with pytest.raises(InputError, match="the ledger lacks m/pooled/Italy/plot; allowed: every scenario"):
        context_points(runs, ledger[ledger["scenario"] != "plot"])


def test_scenarios_that_differ_in_context_alone_are_found() -> None:
    assert same_but_context(list(SCENARIOS), SCENARIOS) == [["both_2048", "both_4096"]]
    changed = SCENARIOS | {"both_2048": SCENARIOS["both_2048"] | {"separator": "comma"}}
    assert same_but_context(list(changed), changed) == []


def test_the_frontier_by_hand() -> None:
    cost = [1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 0.5]
    accuracy = [0.5, 0.6, 0.7, 0.7, 0.9, 0.9, 0.8, 0.5]
    # The last is as accurate as the first, and cheaper; at 2 and 4 the best counts, twice where two are equal.
    expected = [False, False, True, False, True, True, False, True]
    assert pareto_frontier(np.array(cost), np.array(accuracy)).tolist() == expected
    assert pareto_frontier(np.array([]), np.array([])).tolist() == []


def test_the_frontier_is_what_its_definition_says_with_many_ties() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        cost, accuracy = random.integers(0, 4, size=(2, 12)).astype(float)
        beaten = np.zeros(12, dtype=bool)
        for one, other in itertools.permutations(range(12), 2):
            as_good = cost[other] <= cost[one] and accuracy[other] >= accuracy[one]
            better = cost[other] < cost[one] or accuracy[other] > accuracy[one]
            beaten[one] |= as_good and better
        assert pareto_frontier(cost, accuracy).tolist() == (~beaten).tolist()


def methods(*baselines: tuple[str, float, float]) -> pd.DataFrame:
    """Return a table of methods: a fine-tuned one, which is not read, and baselines."""
    rows = [PLACE | {"kind": "fine-tuned", "method": "plot", "accuracy": 0.95, "wall_seconds": 40.0}]
    for name, seconds, accuracy in baselines:
        rows.append(
            PLACE | {"kind": "baseline", "method": name, "accuracy": accuracy, "wall_seconds": seconds}
        )
    return pd.DataFrame(rows, columns=METHOD_COLUMNS)


def test_the_figure_of_costs_holds_runs_baselines_and_the_frontier(runs: pd.DataFrame) -> None:
    table = methods(("majority", 0.001, 0.5), ("minirocket", 20.0, 0.9), ("fcn", 70.0, 0.9))
    [axis] = draw_accuracy_by_cost(runs, table).axes
    drawn = [line.get_xydata().tolist() for line in axis.lines if line.get_linestyle() in ("None", "")]
    assert drawn == [
        [[110, 90], [110, 80], [110, 70]],  # both_4096: fine-tuning and evaluation
        [[50, 95]],
        [[110, 60]],
        [[0.01, 50]],  # never left of the axis
        [[20, 90]],
        [[70, 90]],
    ]
    [frontier] = [line for line in axis.lines if line.get_drawstyle() == "steps-post"]
    assert frontier.get_xydata().tolist() == [[0.01, 50], [20, 90], [50, 95]]
    assert axis.get_xlabel() == "CPU seconds,\ntraining and test"
    assert majority_line(axis, "y") == [50]


def test_where_an_evaluation_has_no_time_no_point_has_one(runs: pd.DataFrame) -> None:
    runs.loc[0, "compute_seconds"] = None
    points, label = cost_points(runs, methods())
    assert points["seconds"].to_list() == pytest.approx([100, 100, 100, 40, 100])
    assert label == "CPU seconds,\ntraining"
    points, label = cost_points(runs.assign(gpu_hours=0.1), methods(("fcn", 70.0, 0.9)))
    assert points["seconds"].to_list() == pytest.approx([360] * 5 + [70])
    assert label.startswith("GPU seconds (baselines: CPU)")
    _, label = cost_points(runs.assign(gpu_hours=[0, 0, 0, 0.1, 0]), methods())
    assert label.startswith("GPU or CPU seconds,")
    # The first stage alone is a point, trained where the model is, and no baseline.
    first = methods(("aligned_projector", 70.0, 0.9)).replace({"kind": {"baseline": FIRST_STAGE}})
    points, label = cost_points(runs.assign(gpu_hours=0.1), first)
    assert points["seconds"].to_list() == pytest.approx([360] * 5 + [70])
    assert label.startswith("GPU seconds,")


RUN = Run("m", "Italy", "pooled", "plot", 0)
#: Four cases answered with 90% confidence, three of them right; two with 60%, one of them right.
CONFIDENCES, RIGHT = [0.9, 0.9, 0.9, 0.9, 0.6, 0.6], [True, True, True, False, True, False]
#: 4/6 of 15 points and 2/6 of 10.
ERROR = 4 / 6 * 0.15 + 2 / 6 * 0.1


def write_predictions(folder: Path, **more: float) -> tuple[Path, dict[str, Any]]:
    """Write these predictions; returns their file and metrics."""
    folder.mkdir(exist_ok=True)
    labels = np.arange(6) % 2
    predicted = np.where(RIGHT, labels, 1 - labels)
    chances = np.where(
        np.eye(2)[predicted] == 1, np.array(CONFIDENCES)[:, None], 1 - np.array(CONFIDENCES)[:, None]
    )
    file = folder / "predictions.csv"
    prediction_table([f"case-{case}" for case in range(6)], np.log(chances), ["a", "b"], labels).to_csv(
        file, index=False
    )
    return file, compute_metrics(labels, np.log(chances), ["a", "b"]) | more


def test_the_reliability_curve_and_its_error_by_hand(tmp_path: Path) -> None:
    file, metrics = write_predictions(tmp_path)
    low, high = reliability_rows(RUN, file, metrics)
    assert list(low) == RELIABILITY_COLUMNS
    # 60% is the upper edge of the ninth bin of fifteen or just above it, 90% is in the fourteenth.
    assert low["bin"] in (8, 9)
    assert (low["cases"], high["bin"], high["cases"]) == (2, 13, 4)
    assert (low["confidence"], low["accuracy"]) == pytest.approx((0.6, 0.5))
    assert (high["confidence"], high["accuracy"]) == pytest.approx((0.9, 0.75))
    assert metrics["expected_calibration_error"] == pytest.approx(ERROR)
    whole = file.read_text()
    file.write_text(whole[: whole.rindex(",") + 1])
    with pytest.raises(InputError, match=r"predictions.csv: damaged .*; remove it to have it rebuilt"):
        reliability_rows(RUN, file, metrics)
    file.write_text(whole)
    with pytest.raises(
        InputError, match=r"predictions.csv: calibration error 0.133333 as scored; allowed: 0.5"
    ):
        reliability_rows(RUN, file, metrics | {"expected_calibration_error": 0.5})


def test_the_diagram_shows_both_curves_their_cases_and_their_errors(tmp_path: Path) -> None:
    # At the temperature 1/2 the odds are squared: 9/4 of 13, 81 of 82.
    confidences = {"low": 9 / 13, "high": 81 / 82}
    at_temperature = 4 / 6 * (confidences["high"] - 0.75) + 2 / 6 * (confidences["low"] - 0.5)
    file, metrics = write_predictions(
        tmp_path, temperature=0.5, expected_calibration_error_at_temperature=at_temperature
    )
    table = pd.DataFrame(reliability_rows(RUN, file, metrics), columns=RELIABILITY_COLUMNS)
    values = {ERRORS[name]: metrics[ERRORS[name]] for name in ERRORS} | {"temperature": 0.5}
    figure = draw_calibration(runs_table([run("plot", 4 / 6, **values)]), table)
    above, below = figure.axes
    assert above.get_title() == f"ECE 13.3%, {100 * at_temperature:.1f}% at T = 0.50"
    curves = {line.get_marker(): line.get_xydata() for line in above.lines}
    assert curves["o"].ravel() == pytest.approx([60, 50, 90, 75])
    assert curves["s"].ravel() == pytest.approx([100 * 9 / 13, 50, 100 * 81 / 82, 75])
    assert [bar.get_height() for bar in below.patches] == [2, 4, 2, 4]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in below.patches]
    assert centres[1] == pytest.approx(13.5 / BINS * 100)
    assert below.get_yscale() == "log"


def test_seeds_are_pooled_by_their_cases() -> None:
    row = vars(RUN) | {"scores": AS_SCORED, "bin": 9, "confidence": 0.62, "accuracy": 1.0, "cases": 1}
    other = row | {"seed": 1, "confidence": 0.66, "accuracy": 0.0, "cases": 3}
    alone = row | {"bin": 3, "confidence": 0.2}
    pooled = pool_seeds(pd.DataFrame([row, other, alone])).to_dict("records")
    assert [one["bin"] for one in pooled] == [3, 9]
    assert (pooled[1]["cases"], pooled[1]["accuracy"]) == (4, 0.25)
    assert pooled[1]["confidence"] == pytest.approx((0.62 + 3 * 0.66) / 4)


def test_the_heatmap_has_every_run_and_marks_the_chosen_scenario() -> None:
    places = [{"dataset": dataset, "model": model} for model in ("m", "n") for dataset in ("Waves", "Italy")]
    rows = [run("plot", 0.9, seed, validation_accuracy=0.5) | place for place in places for seed in (0, 1)]
    rows += [
        run("numbers", 0.4, validation_accuracy=0.8, accuracy_low=0.3, accuracy_high=0.5) | place
        for place in places
    ]
    figure = draw_accuracy_heatmap(runs_table(rows))
    blocks = figure.axes[:2]
    assert [axes.get_title(loc="left") for axes in blocks] == ["m, pooled split", "n, pooled split"]
    for axes in blocks:
        assert [label.get_text() for label in axes.get_yticklabels()] == ["Waves", "Italy"]
        texts = [text.get_text() for text in axes.texts]
        assert texts == ["90.0\n± 0.0, n=2", "40.0\n[30.0, 50.0]", "50.0"] * 2
        assert [text.get_text()[:4] for text in axes.texts if text.get_weight() == "bold"] == ["40.0"] * 2
    assert [label.get_text() for label in blocks[1].get_xticklabels()] == [
        "plot",
        "numbers",
        "majority class",
    ]


def test_curves_have_a_line_for_each_seed_in_its_scenario_s_colour() -> None:
    names = [("plot", 0), ("plot", 1), ("numbers", 0)]
    steps = pd.DataFrame({"step": np.arange(1, 41), "tokens": 10 * np.arange(1, 41), "loss": 2.0})
    epochs = pd.DataFrame({"step": [20, 40], "tokens": [200, 400], "validation_accuracy": [0.5, 0.75]})
    log = pd.concat([steps, epochs.assign(validation_loss=[0.9, 0.3])])
    logs = [log.assign(**PLACE, scenario=scenario, seed=seed) for scenario, seed in names]
    figure = draw_training_curves(pd.concat(logs, ignore_index=True))
    above, below = figure.axes
    looks = line_looks(["plot", "numbers"])
    assert len(above.lines) == 2 * len(names)
    assert [line.get_color() for line in below.lines] == [looks[scenario]["color"] for scenario, _ in names]
    for line in below.lines:
        assert line.get_xydata().tolist() == [[200, 50], [400, 75]]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["plot", "numbers", "training (smoothed)", "validation"]


def confusion(classes: list[str], **others: str) -> pd.DataFrame:
    """Return counts of which each class is taken for itself thrice and for the next one once."""
    counts = pd.DataFrame({"true": classes * 2, "predicted": classes + classes[1:] + classes[:1]})
    counts["count"] = [3] * len(classes) + [1] * len(classes)
    return counts.assign(**PLACE | {"scenario": "plot", "seed": 0} | others)


def test_confusion_matrices_have_counts_of_all_seeds() -> None:
    one, other = confusion(["a", "b"]), confusion(["x", "y", "z"], dataset="Waves")
    figure = draw_confusion_matrices(pd.concat([one, one.assign(seed=1), other]))
    first, second, _ = figure.axes
    assert [text.get_text() for text in first.texts] == ["6", "2", "2", "6"]
    assert [text.get_text() for text in second.texts] == ["3", "1", "0", "0", "3", "1", "1", "0", "3"]
    assert [label.get_text() for label in second.get_yticklabels()] == ["x", "y", "z"]
    assert first.get_ylabel() == "Italy\ntrue class"


def test_class_names_are_no_formulas(tmp_path: Path) -> None:
    figure = draw_confusion_matrices(confusion(["$a^$", "$10-$20"]))
    figure.savefig(tmp_path / "figure.png")
    assert not any(label.get_parse_math() for label in figure.axes[0].get_xticklabels())


def test_a_confusion_matrix_of_many_classes_is_small_in_print(tmp_path: Path) -> None:
    classes = [str(number) for number in range(300)]
    draw_confusion_matrices(confusion(classes)).savefig(tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").stat().st_size < 100_000  # as shapes, ten times as much


def test_titles_of_neighbouring_panels_do_not_overlap() -> None:
    panels = panel_grid(3, 2, (2.0, 1.5), (0.3, 0.5))
    names = [f"ADatasetWithAVeryLongNameIndeed{number}" for number in range(3)]
    keys = [("m", "pooled", name) for name in names]
    table = pd.DataFrame(keys, columns=["model", "protocol", "dataset"])
    panels.set_titles(table, keys)
    first, second = (axes.title.get_window_extent() for [axes] in panels.axes[:2])
    assert first.x1 < second.x0
    panels.label("x", ["y"])
    assert [axes.get_ylabel() for [axes] in panels.axes] == ["y", "", "y"]
    assert [axes.get_xlabel() for [axes] in panels.axes] == ["", "x", "x"]


def test_no_two_lines_look_alike_and_long_names_break() -> None:
    looks = [str(look) for look in line_looks([str(index) for index in range(64)]).values()]
    assert len(set(looks)) == 64
    name = "BASELINE_2048_adaptive_ds_plot_ds"
    assert wrapped(name).replace("\n", "") == name
    assert max(map(len, wrapped(name).split("\n"))) <= 15


def test_the_script_draws_the_figures_twice_with_the_same_bytes(ledger: pd.DataFrame, tmp_path: Path) -> None:
    controls = {"plot": {"intact": 4, "image_blank": 20}, "numbers": {"intact": 4, "numbers_shuffled": 4}}
    for dataset in ("Italy", "Waves"):
        for scenario, wrong in controls.items():
            write_controls(tmp_path, write_run(tmp_path, dataset, scenario), wrong)
        summarised(tmp_path, dataset, list(controls), controls=True)
    tokens = [ledger.assign(model="tiny", dataset=dataset) for dataset in ("Italy", "Waves")]
    pd.concat(tokens).to_csv(Paths(str(tmp_path)).table("ledger.csv"), index=False)
    figures = ["accuracy_heatmap", "training_curves", "confusion_matrices", "modality_ablation", "controls"]
    figures += ["accuracy_by_context", "calibration", "accuracy_by_cost"]
    for folder in ("first", "second"):
        options = [str(tmp_path), ["tiny"], ["Italy", "Waves"], "pooled", SCENARIOS, figures]
        draw_figures(*options, tmp_path / folder)  # type: ignore[arg-type]
    names = {f"{name}.{form}" for name in figures for form in ("png", "pdf")}
    assert {path.name for path in (tmp_path / "first").iterdir()} == names
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name

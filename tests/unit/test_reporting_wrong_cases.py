"""Cases most confidently wrong, in the right order, with the model's inputs; the script that draws all cases."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest

from draw_cases import draw_cases
from render_plots import render_plots
from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import prediction_table
from vlmtsc.files import write_json
from vlmtsc.paths import Paths, Run, plot_file_name
from vlmtsc.planning import CaseScenario
from vlmtsc.reporting.wrong_cases import (
    CASES,
    MAX_CLASSES,
    MAX_SCENARIOS,
    ScenarioCases,
    ShownCase,
    as_percent,
    classes_to_show,
    confidence_order,
    wrong_cases,
    wrong_cases_page,
)
from vlmtsc.representation.plot_files import PlotStore
from vlmtsc.representation.representation import Representation, fit_representation
from vlmtsc.settings import PlotSettings, ScenarioSettings


def scored(labels: list[int], scores: list[list[float]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    return [f"case-{row}" for row in range(len(labels))], np.array(labels), np.array(scores, dtype=np.float64)


def test_the_surest_come_first_and_ties_stay_in_their_order() -> None:
    run = scored(
        [0, 0, 0, 1, 1, 0, 0],
        # right; wrong by 1; right by 9; wrong by 3; wrong by 1; a tie, of which the first class counts; wrong by 3
        [[-1, -2], [-2, -1], [0, -9], [-1, -4], [0, -1], [-1, -1], [-9, -6]],
    )
    found = confidence_order({0: run})
    assert [case.id for case in found] == ["case-3", "case-6", "case-1", "case-4"]
    assert [(case.true, case.predicted) for case in found] == [(1, 0), (0, 1), (0, 1), (1, 0)]
    assert found[0].probabilities == pytest.approx([1 / (1 + np.exp(-3)), 1 / (1 + np.exp(3))])
    assert found[2].probabilities.sum() == pytest.approx(1)


def test_the_other_classes_count_as_well() -> None:
    # The lead over the second is larger in the first case, the probability in the second.
    run = scored([2, 2], [[0, -2, -2], [0, -1.9, -9]])
    assert [case.id for case in confidence_order({0: run})] == ["case-1", "case-0"]


def test_probabilities_that_are_rounded_to_one_are_still_told_apart() -> None:
    run = scored([1, 1, 1], [[0, -50], [0, -400], [0, -90]])
    found = confidence_order({0: run})
    assert [case.probabilities[0] for case in found] == [1.0, 1.0, 1.0]
    assert [case.id for case in found] == ["case-1", "case-2", "case-0"]


def test_there_may_be_no_wrong_case() -> None:
    assert confidence_order({0: scored([0, 1], [[0, -1], [-1, 0]])}) == []


def test_each_case_once_in_the_run_that_is_surest() -> None:
    runs = {
        3: scored([0, 0, 0], [[-2, -1], [-1, -2], [-2, -1]]),
        4: scored([0, 0, 0], [[-5, -1], [-2, -1], [-2, -1]]),
        5: scored([0, 0, 0], [[-1, -2], [-1, -2], [-2, -1]]),
    }
    found = confidence_order(runs)
    assert [(case.id, case.seed, case.wrong_seeds) for case in found] == [
        ("case-0", 4, (3, 4)),
        ("case-1", 4, (4,)),
        ("case-2", 3, (3, 4, 5)),  # equally sure: the first
    ]
    with pytest.raises(InputError, match="seeds 3 and 9 have predicted other cases"):
        confidence_order({3: runs[3], 9: scored([0], [[0, 1]])})


def test_of_many_classes_the_likeliest_are_shown_and_always_the_true_one() -> None:
    shares = np.array([0.02, 0.5, 0.04, 0.3, 0.05, 0.06, 0.01, 0.02])
    assert classes_to_show(shares, [6, 1], 4) == ([1, 3, 5, 6], 4, pytest.approx(0.13))
    assert classes_to_show(shares, [6, 1], 7) == ([1, 3, 5, 4, 2, 0, 7, 6], 0, 0.0)


def test_a_probability_is_not_rounded_to_certainty() -> None:
    assert [as_percent(share) for share in (0.0, 0.0004, 0.25, 0.99949, 0.9999, 1.0)] == [
        "0.0%",
        "<0.1%",
        "25.0%",
        "99.9%",
        ">99.9%",
        "100.0%",
    ]


CLASSES = ("<b>walk</b>", "run", "stand")
#: By scenario and seed, the class that is predicted for each of eight test cases, whose classes are 0, 1, 2, 0, ...
PREDICTED = {
    ("plot", 0): [0, 1, 2, 0, 1, 2, 0, 1],
    ("numbers", 0): [1, 1, 2, 2, 0, 0, 2, 1],
    ("both", 0): [0, 1, 0, 0, 1, 2, 0, 1],
    ("both", 1): [0, 1, 1, 0, 1, 2, 2, 1],
}
SCENARIOS = {
    "plot": ScenarioSettings(name="plot", modality="plot", numbers="none"),
    "numbers": ScenarioSettings(name="numbers", modality="numbers", numbers="decimals", plot="none"),
    "both": ScenarioSettings(name="both", modality="both", numbers="decimals"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of runs of three scenarios, with plots in both stores; half of the prompts are long."""
    root = tmp_path_factory.mktemp("wrong") / "results"
    values = np.random.default_rng(0).normal(size=(20, 1, 400))
    labels = np.concatenate([np.arange(12) % 3, np.arange(8) % 3])
    ids = np.array([f"Waves-{case:05d}" for case in range(20)])
    series = CleanSeries(values, labels, np.array(CLASSES), ids, 12)
    paths, key = Paths(str(root)), Run("tiny", "Waves", "pooled", "", 0)
    Path(paths.split(key)).mkdir(parents=True)
    series.save(Path(paths.dataset(key)) / "series.npz")
    parts = {"train": np.arange(10), "validation": np.arange(10, 12), "test": np.arange(12, 20)}
    np.savez(Path(paths.split(key)) / "split.npz", **parts)  # type: ignore[arg-type]
    plot = PlotSettings(inches=1.0)
    stores: tuple[PlotStore, ...] = ("files", "archive")
    for store in stores:
        render_plots(Path(paths.dataset(key)) / "series.npz", root / store, plot, store=store)
    for name, scenario in SCENARIOS.items():
        fitted = fit_representation(
            scenario,
            plot if scenario.has_image else None,
            values[:12],
            2 if name == "both" else 1,
            classes=CLASSES,
            image_tokens=4,
            system_prompt="A system's prompt.",
            eos_token="</s>",
        )
        folder = root / f"conversations/tiny/Waves/pooled/{name}"
        fitted.save(folder / "representation.json")
        records = [
            fitted.record(
                str(ids[case]),
                fitted.prompt(values[case]),
                fitted.label_texts[labels[case]],
                plot_file_name(case),
            )
            for case in range(12, 20)
        ]
        write_json(folder / "test.json", records)
    for (name, seed), predicted in PREDICTED.items():
        # The later a case, the surer.
        scores = np.where(np.arange(3) == np.array(predicted)[:, None], 0.0, -1 - np.arange(8.0)[:, None])
        folder = root / f"runs/tiny/Waves/pooled/{name}/seed-{seed}"
        folder.mkdir(parents=True)
        table = prediction_table(ids[12:].tolist(), scores, CLASSES, labels[12:])
        table.to_csv(folder / "predictions.csv", index=False)
    return root


def scenarios_of(results: Path, store: str, names: tuple[str, ...]) -> list[CaseScenario]:
    found = []
    for name in names:
        seeds = tuple(seed for scenario, seed in PREDICTED if scenario == name)
        shown = name != "numbers"
        plots = str(results / store) if shown else ""
        found.append(CaseScenario("tiny", name, seeds, "line" if shown else "", plots, name != "plot"))
    return found


def page_of(results: Path, store: str = "files", names: tuple[str, ...] = tuple(SCENARIOS)) -> str:
    scenarios = scenarios_of(results, store, names)
    return wrong_cases_page("Waves", "pooled", wrong_cases(Paths(str(results)), "Waves", "pooled", scenarios))


def test_the_page_shows_the_surest_of_each_scenario(results: Path) -> None:
    page = page_of(results)
    assert re.findall(
        r"<h3>(Waves-\d+): class (\S+), predicted as class (\S+)\s\(([\d.]+%)\)</h3>", page
    ) == [
        # numbers: cases 0, 3, 4, 5, 6 of the test part are wrong, the last three are the surest
        ("Waves-00018", "&lt;b&gt;walk&lt;/b&gt;", "stand", "99.8%"),
        ("Waves-00017", "stand", "&lt;b&gt;walk&lt;/b&gt;", "99.5%"),
        ("Waves-00016", "run", "&lt;b&gt;walk&lt;/b&gt;", "98.7%"),
        # both: 2 in both seeds, 6 in one
        ("Waves-00018", "&lt;b&gt;walk&lt;/b&gt;", "stand", "99.8%"),
        ("Waves-00014", "stand", "&lt;b&gt;walk&lt;/b&gt;", "90.9%"),
    ]
    assert "<b>" not in page
    rows = re.findall(
        r'<td class="text">(\w+)</td><td>([\d, ]+)</td><td>8</td>\s*<td>(\d+)</td>\s*<td>(\S+)</td>', page
    )
    assert rows == [("plot", "0", "0", "-"), ("numbers", "0", "5", "99.8%"), ("both", "0, 1", "2", "99.8%")]
    assert "No wrong case: all 8 test cases are right." in page
    sentences = " ".join(page.split())
    assert "As in seed 1. Wrong in 1 of 2 seeds: 1." in sentences
    assert "As in seed 0. Wrong in 2 of 2 seeds: 0, 1." in sentences


def test_plots_are_the_very_files_of_either_store(results: Path) -> None:
    page = page_of(results)
    embedded = [base64.b64decode(text) for text in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert embedded == [(results / "files" / plot_file_name(case)).read_bytes() for case in (18, 14)]
    assert page == page_of(results, "archive")
    assert page.count("<img") == 2
    # No other file is loaded.
    assert not re.search(r"https?:|src=\"(?!data:)|href=|url\(", page)


def test_whole_prompts_are_there(results: Path) -> None:
    from html import unescape

    from vlmtsc.files import read_json

    page = unescape(page_of(results))
    folder = results / "conversations/tiny/Waves/pooled"
    for name, cases in (("numbers", (6, 5, 4)), ("both", (6, 2))):
        representation = Representation.load(folder / name / "representation.json")
        records = read_json(folder / name / "test.json")
        for case in cases:
            prompt = representation.record_text(records[case], with_answer=False)
            assert prompt.startswith("A system's prompt.")
            assert page.count(prompt) == 1


def test_a_dataset_without_a_wrong_case_says_so(results: Path) -> None:
    page = page_of(results, names=("plot",))
    assert "No wrong case: every test case is right in every run." in page
    assert "<h3>" not in page


def test_predictions_of_other_cases_or_classes_are_refused(results: Path, tmp_path: Path) -> None:
    (tmp_path / "conversations").symlink_to(results / "conversations")
    folder = tmp_path / "runs/tiny/Waves/pooled/numbers/seed-0"
    folder.mkdir(parents=True)
    for classes, message in (
        (CLASSES, "without the case Other-0"),
        (CLASSES[:2], "2 classes; allowed: the scenario's 3"),
    ):
        scores = np.eye(len(classes))[[1]]
        prediction_table(["Other-0"], scores, classes, np.array([0])).to_csv(
            folder / "predictions.csv", index=False
        )
        with pytest.raises(InputError, match=message):
            page_of(tmp_path, names=("numbers",))


def test_scenarios_and_classes_beyond_the_limits_are_counted() -> None:
    names = tuple(f"c{index}" for index in range(MAX_CLASSES + 4))
    scores = -np.arange(len(names), dtype=np.float64)[None]
    (wrong,) = confidence_order({0: (["case"], np.array([len(names) - 1]), scores)})

    def section(number: int) -> ScenarioCases:
        return ScenarioCases(
            f"s{number}", (0,), names, names, 5, (wrong,), (ShownCase(wrong, f"prompt {number}."),)
        )

    page = wrong_cases_page("Waves", "pooled", [section(number) for number in range(MAX_SCENARIOS + 2)])
    assert f"The cases of the first {MAX_SCENARIOS} of {MAX_SCENARIOS + 2} scenarios are shown." in page
    assert page.count("<h3>") == MAX_SCENARIOS
    assert f"prompt {MAX_SCENARIOS}." not in page
    assert f'<td class="text">s{MAX_SCENARIOS + 1}</td>' in page
    assert page.count("4 more classes have") == MAX_SCENARIOS
    assert page.count(f'<td class="text">c{len(names) - 1} (true)</td>') == MAX_SCENARIOS
    assert CASES >= 1


def test_the_script_draws_what_the_scenarios_have_with_the_same_bytes(results: Path, tmp_path: Path) -> None:
    everything = scenarios_of(results, "files", tuple(SCENARIOS))
    for folder in ("first", "second"):
        draw_cases(results, "Waves", "pooled", everything, tmp_path / folder)
    names = {path.name for path in (tmp_path / "first").iterdir()}
    figures = ("prototypes", "gallery", "downsampling")
    assert names == {"wrong_cases.html", *(f"{name}.{form}" for name in figures for form in ("png", "pdf"))}
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    draw_cases(results, "Waves", "pooled", scenarios_of(results, "", ("numbers",)), tmp_path / "numbers")
    assert not (tmp_path / "numbers/gallery.png").exists()
    assert (tmp_path / "numbers/downsampling.png").exists()
    draw_cases(results, "Waves", "pooled", scenarios_of(results, "files", ("plot",)), tmp_path / "plot")
    assert not (tmp_path / "plot/downsampling.png").exists()
    assert (tmp_path / "plot/gallery.png").exists()

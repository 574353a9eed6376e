"""The table of corrections: which rows, what they say, and what they say where a fault changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from conftest import ROOT
from finished_runs import write_run
from scipy.stats import binomtest

from vlmtsc.configuration import Configuration, load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.files import write_json
from vlmtsc.paths import Paths, Run
from vlmtsc.planning import Pair, correction_pairs
from vlmtsc.reporting.corrections import compare_inputs, paired_p_value
from vlmtsc.reporting.publish import publish_corrections
from vlmtsc.settings import Correction, Switch
from write_tables import write_corrections_table


def record(case: int, answer: str, **changes: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": f"Question {case}"}, {"from": "gpt", "value": answer}]
    return {"id": f"Toy-{case:05d}", "conversations": turns, "tokens": 9} | changes


def conversations(answers: list[str], **changes: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the same cases for every set."""
    return {
        part: [record(case, answer, **changes) for case, answer in enumerate(answers)]
        for part in ("train", "validation", "test")
    }


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (conversations(["1", "2", "3"]), "identical"),
        (conversations(["2", "1", "3"]), "classes renamed"),
        (conversations(["2", "1", "2"]), "different"),
        (conversations(["1", "2", "3"], tokens=8), "different"),
        (conversations(["1", "2", "3"], image="case.png"), "different"),
        (conversations(["1", "2"]), "different"),
        (conversations(["1", "2", "3"]) | {"test": [record(case, "1") for case in (5, 6, 7)]}, "different"),
    ],
)
def test_inputs_are_compared_by_content(other: dict[str, Any], found: str) -> None:
    assert compare_inputs(conversations(["1", "2", "3"]), other) == found


def pairs_of(configuration: Configuration) -> list[Pair]:
    corrections = configuration.corrections
    return correction_pairs(corrections, configuration.models, configuration.protocol, configuration.seeds)


def test_rows_are_all_datasets_by_all_corrections() -> None:
    both = ("GunPoint", "PenDigits")
    corrections = [
        Correction(switch="merged_labels", scenario="numbers", datasets=("PenDigits",)),
        Correction(switch="no_image_token", scenario="plot_and_numbers", datasets=both),
    ]
    pairs = correction_pairs(corrections, ["tiny"], "pooled", [0, 4])
    assert len(pairs) == 2 * 2 * 2
    assert [(pair.without.dataset, pair.switch, pair.without.seed) for pair in pairs if not pair.run] == [
        ("GunPoint", "merged_labels", 0),
        ("GunPoint", "merged_labels", 4),
    ]
    assert [str(run) for run in pairs[0].runs] == [
        "tiny/PenDigits/pooled/numbers/seed-0",
        "tiny/PenDigits/pooled/numbers__merged_labels/seed-0",
    ]
    assert pairs_of(load_configuration_files([], ROOT)) == []


def test_every_switch_is_measured_in_a_scenario_where_it_acts() -> None:
    configuration = load_configuration_files([ROOT / "config/corrections.yaml"], ROOT)
    switches = {correction.switch for correction in configuration.corrections}
    assert switches == {*get_args(Switch)} - {"none"}
    for pair in pairs_of(configuration):
        assert configuration.scenario_table[pair.with_fault.scenario].compat == (pair.switch,)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"switch": "merged", "scenario": "numbers"}, "unknown value 'merged'; did you mean 'merged_labels'?"),
        ({"scenario": "number"}, "corrections.0: scenarios: unknown scenario 'number'; did you mean 'numbers'?"),
        ({"datasets": ["GunPont"]}, "corrections.0: datasets: unknown dataset 'GunPont'"),
        ({"scenario": "as_published_BASELINE_2048"}, "as_published_BASELINE_2048: compat=no_image_token, "),
        ({"switch": "blank_plot"}, "scenario numbers__blank_plot: compat='blank_plot', but modality='numbers'"),
    ],
)  # fmt: skip
def test_corrections_that_cannot_be_run_are_refused(entry: dict[str, Any], message: str) -> None:
    whole = {"switch": "merged_labels", "scenario": "numbers", "datasets": ["GunPoint"]} | entry
    with pytest.raises(InputError) as caught:
        load_configuration_files([], ROOT, {"corrections": [whole]})
    assert message in str(caught.value)


def predictions(right: list[bool]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"Toy-{case}" for case in range(len(right))],
            "true": "1",
            "predicted": ["1" if ok else "2" for ok in right],
        }
    )


def test_the_test_is_paired_and_exact() -> None:
    one = predictions([True] * 10 + [False] * 2 + [True] * 5)
    other = predictions([False] * 10 + [True] * 2 + [True] * 5)
    # Of twelve cases in which the runs differ, the first is right in ten.
    assert paired_p_value(one, other) == pytest.approx(binomtest(10, 12).pvalue)
    assert paired_p_value(one, other.sample(frac=1, random_state=0)) == paired_p_value(one, other)
    assert paired_p_value(one, one) == 1
    with pytest.raises(InputError, match="predictions of other cases"):
        paired_p_value(one, other[:-1])


def write_scenario(
    results: Path, scenario: str, right: int | None, answers: list[str], classes: list[str]
) -> None:
    """Write the conversations and the run of a scenario with ten test cases; no run if `right` is None."""
    place = Paths(str(results)).conversations(Run("tiny", "Toy", "pooled", scenario, 0))
    for part, records in conversations(answers).items():
        write_json(Path(place, f"{part}.json"), records)
    if right is not None:
        record = {"token_budget": 75_000, "wall_seconds": 90.0, "git_revision": "0123456789abcdef"}
        write_run(results, "Toy", scenario, wrong=10 - right, classes=classes, cases=10, **record)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    three, two = ["1", "2", "3"], ["1", "2", "1"]
    write_scenario(tmp_path, "numbers", 9, three, ["0", "1", "2"])
    write_scenario(tmp_path, "numbers__merged_labels", 6, two, ["1", "2"])
    write_scenario(tmp_path, "decimals", 8, three, ["0", "1", "2"])
    write_scenario(tmp_path, "decimals__first_case_factor", None, three, ["0", "1", "2"])
    write_scenario(tmp_path, "plot", 7, three, ["0", "1", "2"])
    corrections = [
        Correction(switch="merged_labels", scenario="numbers", datasets=("Toy",)),
        Correction(switch="first_case_factor", scenario="decimals", datasets=("Toy",)),
        Correction(switch="blank_plot", scenario="plot", datasets=("Toy",)),
        Correction.model_construct(switch="padding_in_training_only", scenario="plot", datasets=()),
    ]
    write_corrections_table(str(tmp_path), corrections, ["tiny"], "pooled", [0], tmp_path / "tables")
    return tmp_path


def test_rows_hold_both_accuracies_and_say_what_is_missing(results: Path) -> None:
    table = pd.read_csv(results / "tables/corrections.csv").set_index("switch")
    done = table.loc["merged_labels"]
    assert (done["status"], done["inputs"], done["cases"]) == ("done", "different", 10)
    assert (done["accuracy_without"], done["accuracy_with_fault"]) == (0.9, 0.6)
    assert done["difference"] == pytest.approx(-0.3)
    assert done["p_value"] == pytest.approx(binomtest(0, 3).pvalue)
    assert 0.5 < done["low_without"] < 0.9 < done["high_without"] < 1
    same = table.loc["first_case_factor"]  # nothing was run, and nothing can differ
    assert (same["status"], same["inputs"], same["difference"]) == ("not run", "identical", 0)
    missing = table.loc["blank_plot"]  # asked for, and one of the two failed
    assert missing["status"] == "not run"
    assert missing["accuracy_without"] == 0.7
    assert pd.isna(missing["accuracy_with_fault"])
    assert pd.isna(missing["difference"])
    assert pd.isna(table.loc["padding_in_training_only"]["accuracy_without"])  # not asked for


def test_the_table_can_be_read(results: Path) -> None:
    markdown = (results / "tables/corrections.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if "Toy" in line
    ]
    assert rows[0][:2] == ["Toy", "merged_labels"]
    assert rows[0][-3:] == ["-30.0", "0.250", ""]
    assert rows[1][-3:] == ["+0.0", "", "identical, not run"]
    assert rows[2][3:] == ["70.0 [39.7, 89.2]", "-", "", "", "not run"]
    assert "Model: tiny." in markdown
    assert r"merged\_labels" in (results / "tables/corrections.tex").read_text()
    assert "tab:corrections" in (results / "tables/corrections.tex").read_text()
    assert "merged_labels" in (results / "tables/corrections.html").read_text()


def test_several_seeds_have_a_column(results: Path) -> None:
    corrections = [Correction(switch="blank_plot", scenario="plot", datasets=("Toy",))]
    write_corrections_table(str(results), corrections, ["tiny"], "pooled", [0, 1], results / "tables")
    assert "|   seed | dataset" in (results / "tables/corrections.md").read_text()


def test_the_page_is_filled_and_nothing_else_of_it_changes(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    begin, end = "<!-- corrections:begin (make corrections) -->", "<!-- corrections:end -->"
    page.write_text(f"Before\n{begin}\nold\n{end}\nAfter\n")
    for _ in range(2):
        publish_corrections(results, page, "make corrections")
    text = page.read_text()
    assert text.startswith(f"Before\n{begin}\n| dataset")
    assert text.endswith(f"{end}\nAfter\n")
    assert "old" not in text
    assert "2 fine-tunings, each limited to 75,000 training tokens, 3 minutes of training" in text
    assert "revision 0123456789ab." in text
    with pytest.raises(InputError, match="run `make corrections` first"):
        publish_corrections(tmp_path / "nowhere", page, "make corrections")


def test_the_shipped_page_explains_every_switch() -> None:
    text = (ROOT / "docs/method.md").read_text()
    configuration = load_configuration_files([ROOT / "config/corrections.yaml"], ROOT)
    for correction in configuration.corrections:
        assert f"`{correction.switch}`" in text


def test_without_corrections_there_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"none configured; allowed: one or more, as in config/corrections\.yaml"
    ):
        write_corrections_table(str(tmp_path), [], ["tiny"], "pooled", [0], tmp_path / "tables")

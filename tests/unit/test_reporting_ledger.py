"""The token usage table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from publish_results import publish_results
from vlmtsc.errors import InputError
from vlmtsc.files import write_json
from vlmtsc.paths import Paths, Run
from write_ledger import write_ledger

#: Scenario to digest of its conversations, and kind of its plots.
INPUTS: dict[str, tuple[str, str | None]] = {
    "plot": ("a", "line"),
    "wide": ("b", "line"),
    "narrow": ("b", "line"),
    "drawn_otherwise": ("b", None),
    "bare": ("b", ""),
}


def budget(digest: str, **changes: Any) -> dict[str, Any]:
    content = {
        "context_length": 2048,
        "factor": 2,
        "n_timepoints": 60,
        "values_kept": 30,
        "tokens": {part: {"cases": 10, "total": 1000} for part in ("train", "validation", "test")},
        "longest_case": {"id": "Waves-00001", "tokens": 130},
        "training_tokens": 1000,
        "original": {"factor": 1, "cases_cut": 3},
        "breakdown": {"system_prompt": 0, "image": 1470, "numbers": 1200, "text": 270, "label": 60},
        "input_digest": digest * 64,
    }
    return content | changes


def place(results: Path, scenario: str) -> Path:
    return Path(Paths(str(results)).conversations(Run("embedded", "Waves", "pooled", scenario, 0)))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for scenario, (digest, _) in INPUTS.items():
        changes = {"original": None, "values_kept": 0} if scenario == "plot" else {}
        write_json(place(tmp_path, scenario) / "budget.json", budget(digest, **changes))
    write_json(tmp_path / "plots/Waves/line/manifest.json", {"digest": "1" * 64})
    write_json(place(tmp_path, "drawn_otherwise") / "plots/manifest.json", {"digest": "2" * 64})
    return tmp_path


def written(results: Path) -> Path:
    plots = {name: plot for name, (_, plot) in INPUTS.items()}
    write_ledger(str(results), ["embedded"], ["Waves"], list(plots), "pooled", plots, results / "tables")
    return results / "tables"


def test_scenarios_with_the_same_questions_and_plots_name_each_other(results: Path) -> None:
    table = pd.read_csv(written(results) / "ledger.csv", keep_default_na=False).set_index("scenario")
    assert list(table.index) == list(INPUTS)
    same = table["same inputs as"].to_dict()
    assert same == dict.fromkeys(INPUTS, "") | {"wide": "narrow", "narrow": "wide"}
    parts = table.loc["wide", ["system prompt", "image", "numbers", "text", "label"]]
    assert parts.tolist() == [0, 49, 40, 9, 2]
    assert table.loc["wide", "mean tokens"] == parts.sum()


def test_the_table_can_be_read(results: Path) -> None:
    lines = (written(results) / "ledger.md").read_text().splitlines()
    rows = {cells[2]: cells for line in lines if (cells := [cell.strip() for cell in line.split("|")])[2:]}
    assert rows["wide"][9:14] == ["130", "2048", "2", "30 of 60", "3 of 30 (10.0%)"]
    assert rows["plot"][12:14] == ["-", "-"]
    assert "narrow" in (results / "tables/ledger.html").read_text()


def test_scenarios_without_conversations_are_left_out(results: Path) -> None:
    (place(results, "wide") / "budget.json").unlink()
    table = pd.read_csv(written(results) / "ledger.csv", keep_default_na=False).set_index("scenario")
    assert "wide" not in table.index
    assert table.loc["narrow", "same inputs as"] == ""


@pytest.mark.parametrize(
    "folder", ["plots/Waves/line", "conversations/embedded/Waves/pooled/drawn_otherwise/plots"]
)
def test_scenarios_whose_plots_could_not_be_drawn_are_left_out(results: Path, folder: str) -> None:
    (results / folder / "manifest.json").unlink()
    left = [name for name, (_, plot) in INPUTS.items() if plot != ("line" if "line" in folder else None)]
    table = pd.read_csv(written(results) / "ledger.csv", keep_default_na=False)
    assert table["scenario"].tolist() == left


def test_a_table_without_any_scenario_is_written(results: Path) -> None:
    for scenario in INPUTS:
        (place(results, scenario) / "budget.json").unlink()
    assert pd.read_csv(written(results) / "ledger.csv").empty


def test_parts_that_do_not_add_up_are_refused(results: Path) -> None:
    wrong = budget("a", breakdown=budget("a")["breakdown"] | {"text": 0})
    write_json(place(results, "plot") / "budget.json", wrong)
    with pytest.raises(InputError, match="embedded/Waves/pooled/plot: parts of 2730 tokens; allowed: 3000"):
        written(results)


def test_the_published_table_has_the_exact_tokens_of_an_epoch(results: Path) -> None:
    written(results)
    page = results / "page.md"
    page.write_text("<!-- ledger:begin -->\n<!-- ledger:end -->\n")
    publish_results("ledger", results, page, command="make paper-ledger")
    lines = page.read_text().splitlines()
    assert lines[3] == "| Waves | plot | 30 | 100.0 | 40.0 | 130 | 2 | 0 | - | 1,000 |  |"
    assert lines[4] == "| Waves | wide | 30 | 100.0 | 40.0 | 130 | 2 | 30 | 3 | 1,000 | narrow |"
    assert "4 of 5 differ in their inputs: 4,000 training tokens an epoch." in lines
    assert "*Command:* `make paper-ledger`." in lines

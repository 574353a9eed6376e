"""The token-budget ledger, from budgets to tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from collect_ledger import collect_ledger
from vlmtsc.errors import InputError
from vlmtsc.files import write_json
from write_ledger import write_ledger

PLACE = ("embedded", "Waves", "pooled")
#: Scenario to digest of its conversations, and of its plots.
INPUTS = {
    "plot": ("a", "1"),
    "wide": ("b", "1"),
    "narrow": ("b", "1"),
    "drawn_otherwise": ("b", "2"),
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


@pytest.fixture
def conversations(tmp_path: Path) -> Path:
    for scenario, (digest, plots) in INPUTS.items():
        changes = {"original": None, "values_kept": 0} if scenario == "plot" else {}
        write_json(tmp_path.joinpath("told", *PLACE, scenario, "budget.json"), budget(digest, **changes))
        if plots:
            write_json(tmp_path / scenario / "manifest.json", {"digest": plots * 64})
    return tmp_path / "told"


def collect(conversations: Path) -> Path:
    plots = {name: str(conversations.parent / name) if drawn else "" for name, (_, drawn) in INPUTS.items()}
    output = conversations.parent / "ledger.csv"
    collect_ledger(conversations, *PLACE, list(INPUTS), plots, output)
    return output


def test_scenarios_with_the_same_questions_and_plots_name_each_other(conversations: Path) -> None:
    table = pd.read_csv(collect(conversations), keep_default_na=False).set_index("scenario")
    assert list(table.index) == list(INPUTS)
    same = table["same inputs as"].to_dict()
    assert same == dict.fromkeys(INPUTS, "") | {"wide": "narrow", "narrow": "wide"}
    parts = table.loc["wide", ["system prompt", "image", "numbers", "text", "label"]]
    assert parts.tolist() == [0, 49, 40, 9, 2]
    assert table.loc["wide", "mean tokens"] == parts.sum()


def test_ledger_files(conversations: Path, tmp_path: Path) -> None:
    write_ledger([collect(conversations)], tmp_path / "tables")
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        "ledger.csv",
        "ledger.md",
        "ledger.html",
    }
    lines = (tmp_path / "tables/ledger.md").read_text().splitlines()
    rows = {cells[2]: cells for line in lines if (cells := [cell.strip() for cell in line.split("|")])[2:]}
    assert rows["wide"][9:14] == ["130", "2048", "2", "30 of 60", "3 of 30 (10.0%)"]
    assert rows["plot"][12:14] == ["-", "-"]
    assert "narrow" in (tmp_path / "tables/ledger.html").read_text()


def test_parts_that_do_not_add_up_are_refused(conversations: Path) -> None:
    wrong = budget("a", breakdown=budget("a")["breakdown"] | {"text": 0})
    write_json(conversations.joinpath(*PLACE, "plot", "budget.json"), wrong)
    with pytest.raises(InputError, match="embedded/Waves/pooled/plot: parts of 2730 tokens; allowed: 3000"):
        collect(conversations)

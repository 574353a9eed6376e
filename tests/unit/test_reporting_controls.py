"""Controls in the tidy rows, the table and the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_runs import summarised, write_controls, write_run

from vlmtsc.errors import InputError
from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.controls import (
    CONTROL_COLUMNS,
    CONTROL_TYPES,
    NAMES,
    control_looks,
    control_rows,
    controls_table,
    draw_controls,
)
from vlmtsc.reporting.evidence import read_controls
from vlmtsc.reporting.tables import read_tables

#: Wrong cases of 40 by control: of plots, of numbers with two seeds that disagree, of a model that ignores its inputs.
WRONG = {
    ("plot", 0): {"intact": 1, "image_blank": 20, "image_swapped": 39},
    ("numbers", 0): {"intact": 2, "numbers_shuffled": 2, "numbers_removed": 18},
    ("numbers", 1): {"intact": 2, "numbers_shuffled": 12, "numbers_removed": 22},
    ("both", 0): {
        **{"intact": 4, "image_blank": 4, "image_swapped": 5},
        **{"numbers_shuffled": 4, "numbers_removed": 20},
    },
}


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    runs = []
    for (scenario, seed), wrong in WRONG.items():
        runs.append(write_run(tmp_path, "Waves", scenario, seed, wrong=wrong["intact"]))
        write_controls(tmp_path, runs[-1], wrong)
    return runs


@pytest.fixture
def rows(runs: list[Run], tmp_path: Path) -> pd.DataFrame:
    read = [read_controls(Paths(str(tmp_path)), pd.DataFrame([vars(run)])) for run in runs]
    return pd.concat(read, ignore_index=True)


def test_tidy_rows_hold_every_run_and_control(runs: list[Run], tmp_path: Path) -> None:
    rows = read_tables(
        [summarised(tmp_path, "Waves", ["plot", "both"], controls=True) / "controls.csv"], CONTROL_TYPES
    )
    assert list(rows) == CONTROL_COLUMNS
    assert rows["control"].tolist() == [*WRONG["plot", 0], *WRONG["both", 0]]
    assert set(rows["majority_rate"]) == {0.5}
    swapped = rows[(rows["scenario"] == "both") & (rows["control"] == "image_swapped")].iloc[0]
    assert swapped["changed"] == pytest.approx(1 / 40)
    assert swapped["finding"] == "image not used"


def test_the_table_says_what_remains_and_what_is_not_used(rows: pd.DataFrame) -> None:
    table = controls_table(rows)
    cells = table.cells.set_index("scenario")
    assert list(table.cells) == ["dataset", "scenario", *NAMES.values(), "finding"]
    assert cells.loc["plot", "intact"] == "97.5 [87.1, 99.6]"
    assert cells.loc["plot", "swapped image"] == "2.5 [0.4, 12.9] *"
    assert cells.loc["plot", "shuffled numbers"] == "-"
    assert cells.loc["plot", "finding"] == ""
    # One seed's order of numbers matters, the other's does not.
    assert cells.loc["numbers", "shuffled numbers"] == "82.5 ± 17.7"
    assert cells.loc["numbers", "no numbers"] == "50.0 ± 7.1 *"
    assert cells.loc["numbers", "finding"] == "order of numbers not used in 1 of 2 seeds"
    assert cells.loc["both", "swapped image"] == "87.5 [73.9, 94.5]"
    assert cells.loc["both", "finding"] == "image not used, order of numbers not used"
    assert "Model: tiny. Protocol: pooled." in table.note


def test_the_figure_has_a_mark_for_each_control_and_hollow_ones_where_nothing_is_used(
    rows: pd.DataFrame,
) -> None:
    figure = draw_controls(rows)
    [axis] = figure.axes
    marks = [container.lines[0] for container in axis.containers]
    assert len(marks) == 3 + 3 + 5
    hollow = [mark for mark in marks if mark.get_markerfacecolor() == "white"]
    assert len(hollow) == 2  # of `both`; the seeds of `numbers` disagree
    places = np.array([[mark.get_xdata()[0], mark.get_ydata()[0]] for mark in marks])
    assert len({tuple(place) for place in places.round(6)}) == len(marks)
    assert places[0].tolist() == pytest.approx([97.5, -0.16])
    looks = control_looks()
    assert len({look["marker"] for look in looks.values()}) == len(looks) == len(NAMES)


def test_controls_of_another_evaluation_are_refused(runs: list[Run], tmp_path: Path) -> None:
    controls = pd.read_csv(Path(Paths(str(tmp_path)).run(runs[0]), "controls.csv"))
    with pytest.raises(InputError, match=r"tiny/Waves/pooled/plot/seed-0: .* allowed: 0\.925"):
        control_rows(runs[0], controls, {"accuracy": 0.925})
    with pytest.raises(InputError, match=r"controls\.csv lacks changed"):
        control_rows(runs[0], controls.drop(columns="changed"), {"accuracy": 0.975})

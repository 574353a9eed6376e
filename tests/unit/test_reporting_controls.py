"""Controls in the table, the figure, and the tidy rows they are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collect_controls import collect_controls
from print_summary import print_summary
from report_controls import report_controls
from vlmtsc.errors import InputError
from vlmtsc.evaluation.controls import control_row
from vlmtsc.evaluation.metrics import compute_metrics
from vlmtsc.files import write_json
from vlmtsc.reporting.control_figures import control_looks, draw_controls
from vlmtsc.reporting.controls import CONTROL_COLUMNS, CONTROL_TYPES, NAMES, controls_table
from vlmtsc.reporting.tables import read_tables

CLASSES = ["1", "2"]
LABELS = np.arange(40) % 2


def scores(n_wrong: int) -> np.ndarray:
    """Give scores of which so many cases, the first ones, are wrong."""
    predicted = np.where(np.arange(40) < n_wrong, 1 - LABELS, LABELS)
    return np.where(np.arange(2) == predicted[:, None], -0.1, -2.4)


def write_run(folder: Path, wrong: dict[str, int]) -> None:
    """Write what evaluate_model and evaluate_controls leave of a run, by the number of wrong cases."""
    intact = scores(wrong["intact"])
    rows = [control_row(name, LABELS, intact, scores(number), CLASSES) for name, number in wrong.items()]
    folder.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(folder / "controls.csv", index=False)
    write_json(folder / "metrics.json", compute_metrics(LABELS, intact, CLASSES))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give three runs: one that reads its plots, one of numbers with two seeds, one that does not look."""
    runs = tmp_path / "runs/tiny/Waves/pooled"
    write_run(runs / "plot/seed-0", {"intact": 1, "image_blank": 20, "image_swapped": 39})
    for seed, wrong in ((0, 8), (1, 12)):
        write_run(
            runs / f"numbers/seed-{seed}",
            {"intact": 2, "numbers_shuffled": 2 + seed * 10, "numbers_removed": 10 + wrong},
        )
    write_run(
        runs / "both/seed-0",
        {"intact": 4, "image_blank": 4, "image_swapped": 5, "numbers_shuffled": 4, "numbers_removed": 20},
    )
    return tmp_path / "runs"


@pytest.fixture
def collected(root: Path) -> Path:
    runs = ["plot/seed-0", "numbers/seed-0", "numbers/seed-1", "both/seed-0"]
    collect_controls(root, "tiny", "Waves", "pooled", runs, root / "controls.csv")
    return root / "controls.csv"


def test_tidy_rows_hold_every_run_and_control(collected: Path) -> None:
    rows = read_tables([collected], CONTROL_TYPES)
    assert list(rows) == CONTROL_COLUMNS
    assert rows["control"].tolist()[:3] == ["intact", "image_blank", "image_swapped"]
    assert len(rows) == 3 + 3 + 3 + 5
    assert set(rows["majority_rate"]) == {0.5}
    swapped = rows[(rows["scenario"] == "both") & (rows["control"] == "image_swapped")].iloc[0]
    assert swapped["changed"] == pytest.approx(1 / 40)
    assert swapped["finding"] == "image not used"


def test_the_table_says_what_remains_and_what_is_not_used(collected: Path) -> None:
    table = controls_table(read_tables([collected], CONTROL_TYPES))
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


def test_files_are_written_and_the_same_each_time(collected: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        report_controls([collected], tmp_path / name / "tables", tmp_path / name / "figures")
    names = {
        path.relative_to(tmp_path / "one").as_posix()
        for path in (tmp_path / "one").rglob("*")
        if path.is_file()
    }
    assert names == {
        *(f"tables/controls.{kind}" for kind in ("csv", "md", "html")),
        *(f"figures/controls.{kind}" for kind in ("png", "pdf")),
    }
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert "image not used" in (tmp_path / "one/tables/controls.html").read_text()


def test_the_target_controls_ends_with_its_table(
    collected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_controls([collected], tmp_path / "tables", tmp_path / "figures")
    print_summary(tmp_path, ["controls"])
    shown = capsys.readouterr().out
    assert (tmp_path / "tables/controls.md").read_text() in shown
    assert "runs.csv" not in shown  # which this target does not make


def test_the_figure_has_a_mark_for_each_control_and_hollow_ones_where_nothing_is_used(
    collected: Path,
) -> None:
    rows = read_tables([collected], CONTROL_TYPES)
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


def test_controls_of_another_evaluation_are_refused(root: Path) -> None:
    folder = root / "tiny/Waves/pooled/plot/seed-0"
    write_json(folder / "metrics.json", compute_metrics(LABELS, scores(3), CLASSES))
    with pytest.raises(InputError, match=r"tiny/Waves/pooled/plot/seed-0: .* allowed: 0\.925"):
        collect_controls(root, "tiny", "Waves", "pooled", ["plot/seed-0"], root / "controls.csv")
    table = pd.read_csv(folder / "controls.csv").drop(columns="changed")
    table.to_csv(folder / "controls.csv", index=False)
    with pytest.raises(InputError, match=r"controls\.csv lacks changed"):
        collect_controls(root, "tiny", "Waves", "pooled", ["plot/seed-0"], root / "controls.csv")

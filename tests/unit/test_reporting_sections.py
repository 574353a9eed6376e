"""What results put into the README."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_reporting_runs import collect, write_run

from publish_paper import BEGIN, END, publish_paper
from vlmtsc.errors import InputError
from vlmtsc.reporting.sections import fill_section
from write_paper_table import write_paper_table
from write_tables import write_tables

ROOT = Path(__file__).parents[2]


def test_only_the_block_is_replaced(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("above\n<!-- a -->\nold\n<!-- b -->\nbelow\n")
    fill_section(readme, "<!-- a -->", "<!-- b -->", "new")
    assert readme.read_text() == "above\n<!-- a -->\nnew\n<!-- b -->\nbelow\n"
    with pytest.raises(InputError, match="the markers 'c' and 'd' are missing"):
        fill_section(readme, "c", "d", "new")


def test_the_readme_has_the_markers() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.index(BEGIN) < text.index(END)


def test_the_table_goes_with_command_time_and_machine(tmp_path: Path) -> None:
    hardware = {"processor": "Some CPU", "cores": 2, "threads": 2, "memory_gib": 24.0, "gpus": []}
    for scenario, shared in (("plot", None), ("BASELINE_2048", "smolllava/TwoLeadECG/pooled/plot/seed-1")):
        folder = write_run(tmp_path / "runs", "TwoLeadECG", scenario)
        record = json.loads((folder / "run_record.json").read_text())
        (folder / "run_record.json").write_text(
            json.dumps(record | {"hardware": hardware, "shared_with": shared})
        )
        for step, taken in (("finetune_model", 840.0), ("evaluate_model", 60.0)):
            benchmark = tmp_path / f"benchmarks/{step}/smolllava/TwoLeadECG/pooled/{scenario}/seed-1.tsv"
            benchmark.parent.mkdir(parents=True)
            benchmark.write_text(f"s\th:m:s\n{taken}\t0:00:00\n")
    files = collect(tmp_path, "TwoLeadECG", ["plot/seed-1", "BASELINE_2048/seed-1"])[:1]
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    with pytest.raises(InputError, match="run make paper-embedded first"):
        publish_paper(tmp_path, readme, "make")
    write_tables(files, tmp_path / "tables")
    write_paper_table(
        files,
        ROOT / "config/published.tsv",
        ["smolllava"],
        ["TwoLeadECG"],
        ["plot", "BASELINE_2048"],
        "pooled",
        tmp_path / "tables",
    )
    publish_paper(tmp_path, readme, "make paper-embedded")
    text = readme.read_text()
    assert "| TwoLeadECG" in text
    assert "`make paper-embedded`" in text
    assert "1 fine-tunings for 2 results, 0.5 hours" in text
    assert (
        "the longest run 15 minutes; on Some CPU, 2 cores, no GPU, 24 GiB of memory; revision 0123abc" in text
    )

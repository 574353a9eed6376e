"""Generated sections of the documents."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from finished_runs import summarised, write_run
from provenance_parts import write

from publish_results import publish_results
from vlmtsc.errors import InputError
from vlmtsc.paths import Paths
from vlmtsc.reporting.publish import RUN, fill_section
from write_tables import write_paper_table, write_tables

ROOT = Path(__file__).parents[2]


def document(path: Path, *sections: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"<!-- {name}:begin (make) -->\n<!-- {name}:end -->\n" for name in sections))
    return path


def test_only_the_section_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- a:begin (make) -->\nold\n<!-- a:end -->\nbelow\n")
    fill_section(page, "a", r"new \1")
    assert page.read_text() == "above\n<!-- a:begin (make) -->\nnew \\1\n<!-- a:end -->\nbelow\n"
    with pytest.raises(InputError, match=r"page\.md: found 0 sections 'b'"):
        fill_section(page, "b", "new")


def test_the_documents_have_their_sections() -> None:
    found = {
        name: re.findall(r"<!-- ([\w-]+):begin", (ROOT / name).read_text())
        for name in ("README.md", "docs/results.md", "docs/architecture.md")
    }
    assert found["README.md"] == ["results", "paper"]
    sections = [
        "results",
        "paper",
        "evidence",
        "paper-evidence",
        "pooled_2",
        "pooled_3",
        "unseen",
        "corrections",
        "ledger",
        "benchmarks",
    ]
    assert sorted(found["docs/results.md"]) == sorted(sections)
    assert "rulegraph" in found["docs/architecture.md"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Make a results folder with two finished runs, of which one reused the other's training."""
    folder = tmp_path / "results"
    for scenario, shared in (("plot", None), ("BASELINE_2048", "tiny/TwoLeadECG/pooled/plot/seed-0")):
        record = {"shared_with": shared, "wall_seconds": 840, "token_budget": 100000}
        write_run(folder, "TwoLeadECG", scenario, **record)
    matrix = {"scenarios": ["plot", "BASELINE_2048"], "protocol": "pooled", "output": folder / "tables"}
    summarised(folder, "TwoLeadECG", matrix["scenarios"])
    write_tables(str(folder), ["tiny"], ["TwoLeadECG"], seeds=[0], selected=["TwoLeadECG"], **matrix)
    published = ROOT / "config/published.tsv"
    write_paper_table(folder / "tables/runs.csv", published, ["tiny"], ["TwoLeadECG", "PenDigits"], **matrix)
    for name in ("accuracy_heatmap.png", "training_curves.png", "critical_difference.png"):
        (folder / "figures").mkdir(exist_ok=True)
        (folder / f"figures/{name}").write_bytes(name.encode())
    write(str(folder), "logs/rule/all.log", "a log")
    return folder


def test_runs_are_published_with_their_origin(results: Path, tmp_path: Path) -> None:
    page = document(tmp_path / "docs/results.md", "results", "paper")
    readme = document(tmp_path / "README.md", "results", "paper")
    publish_results("results", results, page, readme, "make results")
    publish_results("paper", results, page, readme, "make paper-embedded SEEDS=1")
    text = page.read_text()
    origin = (
        "1 fine-tunings for 2 results, each limited to 100,000 training tokens, 14 minutes of training in total, on "
        "EPYC, 2 cores, no GPU, 8 GiB of memory; revision 0123abc"
    )
    assert text.count(origin) == 2
    assert "`make paper-embedded SEEDS=1`" in text
    assert "from the first download to the last table" in text
    for name in ("accuracy_heatmap.png", "training_curves.png"):
        assert f"(results/{name})" in text
        assert (page.parent / f"results/{name}").read_bytes() == name.encode()
    lines = readme.read_text().splitlines()
    assert max(map(len, lines)) <= 100
    assert any(re.match(r"\| TwoLeadECG \| .* \| \*\*.*\]\*\* \| ", line) for line in lines)
    assert any(
        re.match(r"\| TwoLeadECG \| 99\.1 \(BASELINE_2048\) \| .* \(plot\) \|", line) for line in lines
    )
    assert any(re.match(r"\| PenDigits .* not run", line) for line in lines)


def test_the_evidence_is_published(results: Path, tmp_path: Path) -> None:
    page = document(tmp_path / "docs/results.md", "evidence", "paper-evidence")
    (results / "tables/evidence.md").unlink()
    with pytest.raises(InputError, match="run `make evidence` first"):
        publish_results("evidence", results, page)
    (results / "tables/evidence.md").write_text("No dataset.\n")
    rows = [("tiny", "TwoLeadECG", "pooled", name) for name in ("plot", "BASELINE_2048", "not_run")]
    inputs = pd.DataFrame(rows, columns=["model", "dataset", "protocol", "scenario"])
    inputs.to_csv(results / "tables/evidence_inputs.csv", index=False)
    publish_results("paper-evidence", results, page, command="make evidence")
    text = page.read_text()
    assert "*Command:* `make evidence`. *Runs:* 1 fine-tunings for 2 results" in text
    assert text.index("No dataset.") > text.index("paper-evidence:begin")
    assert "](results/paper-evidence_critical_difference.png)" in text


def test_the_graph_of_the_rules_is_sorted_and_plain(tmp_path: Path) -> None:
    page = document(tmp_path / "docs/architecture.md", "rulegraph")
    graph = tmp_path / "graph"
    graph.write_text(
        "flowchart TB\n  id1[second]\n  style id1 fill:#fff\n  id0[all]\n  id2[first]\n  id1 --> id0\n  id2 --> id1\n"
    )
    publish_results("rulegraph", graph, page)
    assert "flowchart TB\n    first --> second\n    second --> all\n```" in page.read_text()


def test_the_example_is_drawn(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    with pytest.raises(InputError, match="the example figure needs this run"):
        publish_results("picture", tmp_path, tmp_path / "docs/results.md")
    turns = [{"from": "human", "value": "<image>\n" + 90 * "1 " + "\nClass: "}, {"from": "gpt", "value": "1"}]
    case = {"id": "a", "image": "case-00000.png", "conversations": turns, "label_index": 1}
    write(paths.conversations(RUN), "test.json", [case])
    fitted = {"scenario": {"plot": "line"}, "classes": ["x", "y"], "label_texts": ["1", "2"]}
    write(paths.conversations(RUN), "representation.json", fitted)
    write(paths.run(RUN), "metrics.json", {})
    Path(paths.run(RUN), "predictions.csv").write_text("id,score_x,score_y\na,-0.1,-2.0\n")
    Path(paths.plots(RUN, "line")).mkdir(parents=True)
    matplotlib.image.imsave(Path(paths.plots(RUN, "line"), "case-00000.png"), np.ones((30, 31, 3)))
    publish_results("picture", tmp_path, tmp_path / "docs/results.md")
    assert matplotlib.image.imread(tmp_path / "docs/results/example.png").shape[1] > 1500

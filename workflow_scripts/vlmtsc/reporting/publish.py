"""Generated sections of documents: results of finished runs, the example figure, the graph of the rules."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from scipy.special import softmax

from vlmtsc.errors import InputError
from vlmtsc.files import atomic_path, read_csv, read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.ledger import COLUMN_TYPES as LEDGER_TYPES
from vlmtsc.reporting.ledger import SAME
from vlmtsc.reporting.provenance import describe_machine, duration
from vlmtsc.reporting.runs import COLUMN_TYPES, DONE, RUN_KEYS, accuracy_text, choose_scenarios
from vlmtsc.reporting.style import figure_style, save_figure
from vlmtsc.reporting.tables import NONE, joined, percent, read_tables

HEATMAP, CURVES, RANKS = "accuracy_heatmap.png", "training_curves.png", "critical_difference.png"
RANKS_NOTE = (
    "*Mean ranks of the accuracies over the datasets; 1 is the best. A bar joins methods (dots) of which no two differ "
    "significantly (exact two-sided signed-rank tests with Holm's correction for all pairs, `tables/rankings.csv`).*"
)


def fill_section(document: Path, name: str, text: str) -> None:
    """Replace the content of a section, between ``<!-- name:begin ... -->`` and ``<!-- name:end -->``.

    InputError if a marker is missing.
    """
    pattern = re.compile(rf"(<!-- {name}:begin\b.*?-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    filled, n_sections = pattern.subn(
        lambda found: f"{found[1]}{text}\n{found[2]}", document.read_text(encoding="utf-8")
    )
    if n_sections != 1:
        raise InputError(
            f"{document}: found {n_sections} sections {name!r}; allowed: one, between the lines "
            f"'<!-- {name}:begin -->' and '<!-- {name}:end -->'"
        )
    with atomic_path(document) as path:
        path.write_text(filled, encoding="utf-8")


def origin(results: Path, runs: Iterable[Run], command: str) -> str:
    """Describe how results were made: command, number of runs, training time, machines and revisions."""
    paths = Paths(str(results))
    records = [read_json(Path(paths.run(run), "run_record.json")) for run in runs]
    trained = [record for record in records if not record["shared_with"]]
    time = duration(sum(record["wall_seconds"] for record in trained))
    machines = sorted({describe_machine(record["hardware"]) for record in records})
    revisions = sorted({record["git_revision"][:12] for record in records})
    budgets = sorted({record["token_budget"] for record in records if record["token_budget"]})
    limit = (
        f", each limited to {' or '.join(f'{budget:,}' for budget in budgets)} training tokens"
        if budgets
        else ""
    )
    reused = f" for {len(records)} results" if len(trained) < len(records) else ""
    return (
        f"*Command:* `{command}`. *Runs:* {len(trained)} fine-tunings{reused}{limit}, {time} of training in total, on "
        f"{' and '.join(machines)}; revision {', '.join(revisions)}."
    )


def read_table(results: Path, name: str, command: str) -> str:
    """Read a table in Markdown; InputError if it does not exist."""
    table = results / "tables" / name
    if not table.exists():
        raise InputError(f"{table}: no such file; run `{command}` first")
    return table.read_text(encoding="utf-8").strip()


def finished_runs(results: Path) -> tuple[pd.DataFrame, list[Run]]:
    """Read the table of runs, and list those that are done."""
    runs = read_tables([results / "tables/runs.csv"], COLUMN_TYPES)
    return runs, [Run(**row) for row in runs.loc[runs["status"] == DONE, RUN_KEYS].to_dict("records")]


def copy_figure(results: Path, name: str, page: Path, prefix: str = "") -> str:
    """Copy a figure beside a page; return its path relative to the page."""
    figures = page.parent / page.stem
    figures.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(results / "figures" / name, figures / f"{prefix}{name}")
    return f"{page.stem}/{prefix}{name}"


def publish_results(results: Path, page: Path, readme: Path, command: str) -> None:
    """Publish the default run: its table and figures on the page, a small table in the README."""
    runs, finished = finished_runs(results)
    table = read_table(results, "accuracy.md", command)
    curves = copy_figure(results, CURVES, page)
    logs = [path.stat().st_mtime for path in (results / "logs").rglob("*.log")]
    minutes = ((results / "tables/accuracy.md").stat().st_mtime - min(logs)) / 60
    parts = [
        table,
        f"![Accuracy by dataset and scenario]({copy_figure(results, HEATMAP, page)})",
        f"{origin(results, finished, command)} {minutes:.1f} minutes from the first download to the last table. "
        f"[Training curves]({curves}).",
    ]
    fill_section(page, "results", "\n\n".join(parts))
    fill_section(readme, "results", small_table(runs))


def small_table(runs: pd.DataFrame) -> str:
    """Write datasets by scenarios in Markdown: accuracy with its interval, the chosen scenario in bold."""
    chosen = choose_scenarios(runs)
    rows = []
    for place, group in runs.groupby(["model", "protocol", "dataset"], sort=False):
        cells = {name: accuracy_text(part) for name, part in group.groupby("scenario", sort=False)}
        cells |= {name: f"**{text}**" for name, text in cells.items() if name == chosen.get(place)}
        rows.append({"dataset": place[-1], "majority %": joined(group["majority_rate"], percent)} | cells)
    return _narrow(pd.DataFrame(rows))


def _narrow(table: pd.DataFrame) -> str:
    """Write a table in Markdown without padding, numbers right-aligned."""
    lines = [table.columns, ["---", *["---:"] * (len(table.columns) - 1)], *table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def publish_paper(results: Path, page: Path, readme: Path, command: str) -> None:
    """Publish the paper's table: whole on the page, the best of each dataset in the README."""
    table = read_table(results, "paper.md", "make paper-embedded")
    _, finished = finished_runs(results)
    fill_section(page, "paper", f"{table}\n\n{origin(results, finished, command)}")
    best = pd.read_csv(results / "tables/paper_best.csv")
    rows = [
        {
            "dataset": row["dataset"],
            "published %": f"{row['published']:g} ({row['published scenario']})",
            "ours %": f"{row['ours']:.1f} ({row['scenario']})" if row["status"] == DONE else row["status"],
            "majority %": f"{row['majority']:.1f}" if row["status"] == DONE else "-",
        }
        for row in best.to_dict("records")
    ]
    fill_section(readme, "paper", _narrow(pd.DataFrame(rows)))


def publish_evidence(results: Path, page: Path, section: str, command: str) -> None:
    """Publish the comparison with the baselines, with the ranks of all methods if they were drawn."""
    parts = [read_table(results, "evidence.md", "make evidence")]
    if (results / "figures" / RANKS).exists():
        figure = copy_figure(results, RANKS, page, f"{section}_")
        parts += [f"![Ranks of all methods]({figure})", RANKS_NOTE]
    inputs = read_csv(results / "tables/evidence_inputs.csv", dtype=str)
    runs = []
    for row in inputs.to_dict("records"):
        place = {name: row[name] for name in ("model", "dataset", "protocol", "scenario")}
        done = (results / "runs").joinpath(*place.values()).glob("seed-*/metrics.json")
        runs += [Run(**place, seed=int(path.parent.name.removeprefix("seed-"))) for path in sorted(done)]
    fill_section(page, section, "\n\n".join([*parts, origin(results, runs, command)]))


def publish_corrections(results: Path, page: Path, command: str) -> None:
    """Publish the effect of each fault of the original code."""
    text = read_table(results, "corrections.md", command)
    pairs = pd.read_csv(results / "tables/corrections.csv")
    runs = {
        Run(row["model"], row["dataset"], row["protocol"], row[side], row["seed"])
        for row in pairs[pairs["status"] == DONE].to_dict("records")
        for side in ("without", "with_fault")
    }
    fill_section(page, "corrections", f"{text}\n\n{origin(results, sorted(runs), command)}" if runs else text)


def publish_ledger(results: Path, page: Path, command: str) -> None:
    """Publish the token usage of scenarios, with the exact tokens of an epoch."""
    rows = read_tables([results / "tables/ledger.csv"], LEDGER_TYPES)
    cells = pd.DataFrame(
        {
            **{name: rows[name].astype(str) for name in ("dataset", "scenario", "cases")},
            **{name: rows[name].map("{:.1f}".format) for name in ("mean tokens", "numbers")},
            **{name: rows[name].astype(str) for name in ("longest case", "factor", "values kept")},
            "cut by the original": [NONE if pd.isna(cut) else str(cut) for cut in rows["original cuts"]],
            "training tokens": rows["training tokens"].map("{:,}".format),
            "same inputs as": rows[SAME].fillna("").astype(str),
        }
    )
    different = rows.drop_duplicates(["model", "dataset", "inputs"])
    tokens = f"{different['training tokens'].sum():,} training tokens an epoch"
    total = f"{len(different)} of {len(rows)} differ in their inputs: {tokens}."
    fill_section(page, "ledger", f"{_narrow(cells)}\n\n{total}\n\n*Command:* `{command}`.")


def publish_rule_graph(graph: Path, page: Path) -> None:
    """Publish the output of ``snakemake --rulegraph mermaid-js``: rules by name, sorted, without colours."""
    mermaid = graph.read_text(encoding="utf-8")
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]", mermaid, re.MULTILINE))
    edges = re.findall(r"^\s*(id\d+) --> (id\d+)", mermaid, re.MULTILINE)
    lines = sorted(f"    {names[start]} --> {names[end]}" for start, end in edges)
    fill_section(page, "rulegraph", "\n".join(["```mermaid", "flowchart TB", *lines, "```"]))


#: Six channels, four classes with names, and a prompt that fits.
RUN = Run("embedded", "BasicMotions", "pooled", "plot_and_numbers", 0)
TEXT, GREY, PALE, BLUE, ORANGE = "#24292f", "#57606a", "#d0d7de", "#0173b2", "#c05000"
#: Characters of a line of the prompt, and lines that fit.
COLUMNS, LINES = 56, 14


def draw_example(results: Path, output: Path, run: Run = RUN) -> None:
    """Draw the first test case of a run that has a plot and numbers."""
    paths = Paths(str(results))
    metrics = Path(paths.run(run), "metrics.json")
    if not metrics.is_file():
        raise InputError(f"{metrics}: no such file; the example figure needs this run of `make results`")
    case = read_json(Path(paths.conversations(run), "test.json"))[0]
    fitted = read_json(Path(paths.conversations(run), "representation.json"))
    predictions = pd.read_csv(Path(paths.run(run), "predictions.csv"), dtype={"id": str}).set_index("id")
    scores = predictions.loc[case["id"], [f"score_{name}" for name in fitted["classes"]]]
    image = plt.imread(Path(paths.plots(run, fitted["scenario"]["plot"]), case["image"]))
    answers, probabilities = fitted["label_texts"], softmax(scores.to_numpy(dtype=float))
    classes = [f"{answer}: {name}" for answer, name in zip(answers, fitted["classes"], strict=True)]
    with figure_style():
        figure = plt.figure(figsize=(11.5, 3.3))
        plot, prompt, bars = figure.subplots(
            1, 3, width_ratios=[1.09, 1.45, 1.05], gridspec_kw={"wspace": 0.1}
        )
        _draw_plot(plot, image, run.dataset)
        _draw_prompt(prompt, case["conversations"][0]["value"], answers[probabilities.argmax()])
        _draw_probabilities(bars, classes, probabilities, case["label_index"])
        with atomic_path(output) as path:
            save_figure(figure, path)
        plt.close(figure)


def _frame(axes: Axes, title: str, detail: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", color=TEXT, fontweight="bold", pad=8)
    axes.set_title(detail, loc="right", color=GREY, fontsize=8, pad=8)


def _draw_plot(axes: Axes, image: np.ndarray, dataset: str) -> None:
    _frame(axes, "Plot", dataset)
    axes.imshow(image, extent=(0, 1, 0, 1), aspect=image.shape[0] / image.shape[1])
    axes.spines[:].set(visible=True, color=PALE)


def _draw_prompt(axes: Axes, prompt: str, answer: str) -> None:
    _frame(axes, "Prompt and answer", "the series as integers")
    axes.add_patch(FancyBboxPatch((0.02, 0.02), 0.96, 0.96, boxstyle="round,pad=0.02", fc="#f6f8fa", ec=PALE))
    wrapped = [part for line in prompt.split("\n") for part in textwrap.wrap(line, COLUMNS) or [""]]
    for number, line in enumerate([*wrapped, "", "ASSISTANT:"]):
        y = 0.94 - number / LINES
        style: dict[str, Any] = {"family": "DejaVu Sans Mono", "fontsize": 6.85, "va": "top"}
        axes.text(0.04, y, line, color=BLUE if line in ("<image>", "ASSISTANT:") else TEXT, **style)
    axes.text(0.04 + 11.5 / COLUMNS * 0.94, y, answer, color=ORANGE, weight="bold", **style)


def _draw_probabilities(axes: Axes, classes: list[str], probabilities: np.ndarray, true: int) -> None:
    _frame(axes, "Class probabilities", "")
    for index, (name, probability) in enumerate(zip(classes, probabilities, strict=True)):
        y = len(classes) - index
        colour = ORANGE if index == probabilities.argmax() else "#9aa5b1"
        axes.barh(y, 1, height=0.3, color="#eef1f4")
        axes.barh(y, probability, height=0.3, color=colour)
        axes.text(0, y + 0.2, f"{name}{' (true class)' if index == true else ''}", va="bottom", color=TEXT)
        axes.text(1, y + 0.2, f"{100 * probability:.1f}%", va="bottom", ha="right", color=TEXT)
    axes.set_ylim(0.5, len(classes) + 0.75)

"""Put the table and the figure of a finished run into the README."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pandas as pd

from vlmtsc.files import read_json
from vlmtsc.reporting.sections import describe_machine, fill_section
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.publish_results")

BEGIN, END = "<!-- results:begin (make publish) -->", "<!-- results:end -->"
FIGURES = ("accuracy_heatmap.png", "training_curves.png")


def elapsed_minutes(results: Path) -> float:
    """Return the minutes from the first job's last message to the last table."""
    logs = [path.stat().st_mtime for path in (results / "logs").rglob("*.log")]
    return ((results / "tables/accuracy.md").stat().st_mtime - min(logs)) / 60


def machine(results: Path) -> str:
    """Describe the machine that the runs' records name."""
    return describe_machine(read_json(min(results.glob("runs/*/*/*/*/*/run_record.json"))))


def results_text(results: Path, figures: str) -> str:
    """Return the section of the README, as Markdown.

    Parameters
    ----------
    results : Path
        Results folder.
    figures : str
        Folder of the figures, relative to the README.
    """
    runs = pd.read_csv(results / "tables/runs.csv")
    done = runs[(runs["status"] == "done") & runs["shared_with"].isna()]
    parameters = ", ".join(
        f"{model}: {count / 1e6:.0f} million parameters"
        for model, count in done.groupby("model")["total_parameters"].first().items()
    )
    revision = ", ".join(sorted(set(done["git_revision"].str.slice(0, 12))))
    return "\n\n".join(
        [
            (results / "tables/accuracy.md").read_text(encoding="utf-8").strip(),
            f"![Accuracy of datasets by scenarios]({figures}/{FIGURES[0]})",
            f"*Run:* {len(done)} fine-tunings ({parameters}, adapters included), "
            f"{done['wall_seconds'].sum() / 60:.0f} minutes of training in all, "
            f"{elapsed_minutes(results):.1f} minutes from the first download to the last table, on "
            f"{machine(results)}; revision {revision}. "
            f"Training curves: [{FIGURES[1]}]({figures}/{FIGURES[1]}).",
        ]
    )


def publish_results(results: Path, readme: Path, figures: Path, log: Path | None = None) -> None:
    """Put the table and the figure of a finished run into the README.

    Parameters
    ----------
    results : Path
        Results folder.
    readme : Path
        File with the two markers between which the section stands.
    figures : Path
        Folder for copies of the figures.
    log : Path, optional
        File for messages.
    """
    figures.mkdir(parents=True, exist_ok=True)
    section = results_text(results, figures.relative_to(readme.parent).as_posix())
    fill_section(readme, BEGIN, END, section)
    for name in FIGURES:
        shutil.copyfile(results / "figures" / name, figures / name)
    logger.info("%s: %s", readme, results)


if __name__ == "__main__":
    run_script(publish_results)

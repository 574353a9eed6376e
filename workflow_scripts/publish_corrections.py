"""Put the table of corrections into the page that explains them."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from vlmtsc.errors import InputError
from vlmtsc.files import read_json
from vlmtsc.reporting.sections import fill_section
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.publish_corrections")

BEGIN, END = "<!-- corrections:begin (make corrections) -->", "<!-- corrections:end -->"


def corrections_text(results: Path) -> str:
    """Return the section of the page, as Markdown: the table, and how the runs in it were made."""
    if not (results / "tables/corrections.md").is_file():
        raise InputError(f"{results}/tables/corrections.md: no such file; `make corrections` makes it")
    tidy = pd.read_csv(results / "tables/corrections.csv")
    done = tidy[tidy["status"] == "done"]
    runs = {
        f"{row['model']}/{row['dataset']}/{row['protocol']}/{row[side]}/seed-{row['seed']}"
        for row in done.to_dict("records")
        for side in ("without", "with_fault")
    }
    records = [read_json(results / "runs" / run / "run_record.json") for run in sorted(runs)]
    table = (results / "tables/corrections.md").read_text(encoding="utf-8").strip()
    if not records:
        return table
    budgets = sorted({record["token_budget"] for record in records if record["token_budget"]})
    budget = (
        f", each within {' or '.join(f'{tokens:,}' for tokens in budgets)} training tokens" if budgets else ""
    )
    revisions = ", ".join(
        sorted({record["git_revision"][:12] for record in records if record["git_revision"]})
    )
    hardware = records[0]["hardware"]
    device = ", ".join(hardware["gpus"]) or f"{hardware['processor']}, {hardware['cores']} cores, no GPU"
    minutes = sum(record["wall_seconds"] for record in records) / 60
    return (
        f"{table}\n\n*Run:* `make corrections`, {len(records)} fine-tunings{budget}, {minutes:.0f} minutes of training "
        f"in all, on {device}; revision {revisions or 'unknown'}."
    )


def publish_corrections(results: Path, page: Path, log: Path | None = None) -> None:
    """Put the table of corrections into the page that explains them.

    Parameters
    ----------
    results : Path
        Results folder.
    page : Path
        File with the two markers between which the table stands.
    log : Path, optional
        File for messages.
    """
    fill_section(page, BEGIN, END, corrections_text(results))
    logger.info("%s: %s", page, results)


if __name__ == "__main__":
    run_script(publish_corrections)

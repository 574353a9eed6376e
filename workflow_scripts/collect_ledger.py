"""Collect what the scenarios of one model on one dataset and protocol cost into a table."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import read_json
from vlmtsc.reporting.ledger import KEYS, SAME, ledger_row, ledger_table
from vlmtsc.script import run_script
from vlmtsc.table_files import write_csv

logger = logging.getLogger("vlmtsc.collect_ledger")


def collect_ledger(
    conversations: Path,
    model: str,
    dataset: str,
    protocol: str,
    scenarios: list[str],
    plots: dict[str, str],
    output: Path,
    log: Path | None = None,
) -> None:
    """Collect what the scenarios of one model on one dataset and protocol cost into a table.

    Parameters
    ----------
    conversations : Path
        Folder of all conversations; those of a scenario lie in ``{model}/{dataset}/{protocol}/{scenario}``.
    model, dataset, protocol : str
        What the scenarios share.
    scenarios : list of str
        In the order of the table.
    plots : dict of str to str
        By scenario, the folder of its plots; empty without plots.
    output : Path
        CSV to write: one row a scenario.
    log : Path, optional
        File for messages.
    """
    rows = []
    for scenario in scenarios:
        key = dict(zip(KEYS, [model, dataset, protocol, scenario], strict=True))
        budget = read_json(conversations / model / dataset / protocol / scenario / "budget.json")
        drawn = read_json(Path(plots[scenario], "manifest.json"))["digest"] if plots[scenario] else ""
        rows.append(ledger_row(key, budget, drawn))
    table = ledger_table(rows)
    write_csv(output, table)
    shared = int((table[SAME] != "").sum())
    logger.info("%s: %d scenarios, %d of them have the inputs of another", dataset, len(table), shared)


if __name__ == "__main__":
    run_script(collect_ledger)

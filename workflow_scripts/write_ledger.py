"""Write the token usage table of all datasets and scenarios."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.files import write_files
from vlmtsc.paths import Paths
from vlmtsc.reporting.ledger import SAME, ledger_table, read_ledger
from vlmtsc.reporting.runs import list_runs
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.write_ledger")


def write_ledger(
    results: str,
    models: list[str],
    datasets: list[str],
    scenarios: list[str],
    protocol: str,
    plots: dict[str, str | None],
    output: Path,
) -> None:
    """Write the token usage table of all datasets and scenarios.

    Parameters
    ----------
    results : str
        Results folder.
    models, datasets, scenarios : list of str
        All combinations; those without conversations or plots are left out.
    protocol : str
        Split protocol.
    plots : dict of str to str or None
        Kind of plots of each scenario: empty without plots, null for plots of its own.
    output : Path
        Folder to write ``ledger.{csv,md,html}`` to.
    """
    table = read_ledger(Paths(results), list_runs(models, datasets, protocol, scenarios, [0]), plots)
    write_files(output, ledger_table(table).files("ledger", "Token usage", table))
    shared = (table[SAME] != "").sum()
    logger.info("%d rows in %s, %d with the inputs of another", len(table), output / "ledger.md", shared)


if __name__ == "__main__":
    run_script(write_ledger)

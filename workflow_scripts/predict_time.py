"""Store the predicted time of the runs of one model on one dataset and protocol, before they are made."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vlmtsc.files import atomic_path
from vlmtsc.model.devices import list_gpus, name_gpu
from vlmtsc.planning.forecast import Forecaster
from vlmtsc.planning.history import earlier_runs
from vlmtsc.planning.outcome import name_of, predict_run, read_stored, write_stored
from vlmtsc.script import run_script
from vlmtsc.training.record import processor_name

logger = logging.getLogger("vlmtsc.predict_time")


def predict_time(
    results: Path,
    model: str,
    dataset: str,
    protocol: str,
    runs: list[str],
    recipe: dict[str, Any],
    modalities: dict[str, str],
    evaluation: dict[str, bool],
    needs: dict[str, int],
    history: list[Path],
    output: Path,
    log: Path | None = None,
) -> None:
    """Store the predicted time of the runs of one model on one dataset and protocol, before they are made.

    A run whose prediction is stored already keeps it: a prediction that is made after the run would be none.

    Parameters
    ----------
    results : Path
        Results folder, with the conversations of the runs. Its finished runs are learnt from.
    model, dataset, protocol : str
        What the runs share.
    runs : list of str
        Runs as ``{scenario}/seed-{seed}``.
    recipe : dict
        Their settings of fine-tuning.
    modalities : dict of str to str
        By scenario: plot, numbers or both.
    evaluation : dict of str to bool
        Whether it fits a ``temperature`` and is followed by ``controls``.
    needs : dict
        ``threads`` and ``gpu`` of a fine-tuning.
    history : list of Path
        Other results folders to learn from.
    output : Path
        CSV of stored predictions; what is in it is kept.
    log : Path, optional
        File for messages.
    """
    device = name_gpu() if needs["gpu"] and list_gpus() else processor_name()
    forecaster = Forecaster(model, earlier_runs([results, *history]), device, needs["threads"])
    stored = read_stored(output)
    kept = set(stored)
    for text in runs:
        scenario, _, seed = text.rpartition("/seed-")
        key = {"model": model, "dataset": dataset, "protocol": protocol, "scenario": scenario, "seed": seed}
        stored[name_of(key)] = predict_run(
            key,
            results,
            forecaster,
            recipe,
            modality=modalities[scenario],
            **evaluation,
            stored=stored.get(name_of(key)),
        )
    with atomic_path(output) as temporary:
        write_stored(temporary, list(stored.values()))
    logger.info(
        "%s: %d runs predicted from %d earlier ones, %d stored before",
        dataset,
        len(stored) - len(kept),
        len(forecaster.earlier),
        len(kept),
    )


if __name__ == "__main__":
    run_script(predict_time)

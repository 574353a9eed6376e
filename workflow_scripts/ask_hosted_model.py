"""Ask a hosted model, as it comes, for the class of each test case."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vlmtsc.script import run_script
from vlmtsc.settings import EndpointSettings, RequestLimits


def ask_hosted_model(
    key: dict[str, Any],
    series: Path,
    split: Path,
    conversations: Path,
    settings: EndpointSettings,
    output: Path,
    plots: Path | None = None,
    shots: int = 0,
    cache: Path = Path("describer_cache"),
    limits: RequestLimits = RequestLimits(),  # noqa: B008 (frozen)
) -> None:
    """Ask a hosted model, as it comes, for the class of each test case.

    Its address and key are the environment variables VLMTSC_DESCRIBER_URL and VLMTSC_DESCRIBER_KEY.

    Parameters
    ----------
    key : dict
        Identifies the result: baseline, dataset, protocol, model, scenario.
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    split : Path
        Case indices (.npz) of `split_dataset`.
    conversations : Path
        Folder of the scenario's conversations.
    settings : EndpointSettings
        Hosted model and parameters.
    output : Path
        Folder for predictions.csv (id, true, predicted, score of each class, text), metrics.json and record.json.
    plots : Path, optional
        Plots that the scenario shows.
    shots : int, default 0
        Solved training cases of each class before each question.
    cache : Path
        Folder of cached answers, shared by runs.
    limits : RequestLimits
        Cap, rate, timeout, attempts.
    """
    from vlmtsc.baselines import hosted
    from vlmtsc.baselines.results import evaluate_baseline
    from vlmtsc.describe.client import DescriberClient, Endpoint

    client = DescriberClient(Endpoint.from_environment(os.environ), limits, cache)
    name = f"{key['dataset']}, {key['scenario']}"
    evaluate_baseline(
        key,
        series,
        split,
        output,
        lambda _: hosted.ask_hosted_model(client, conversations, plots, settings, shots, name),
    )


if __name__ == "__main__":
    run_script(ask_hosted_model)

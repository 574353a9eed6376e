"""Describe every series of a dataset in words."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from vlmtsc.data.series import CleanSeries
from vlmtsc.describe.descriptions import Describer, describe_dataset
from vlmtsc.files import write_json
from vlmtsc.script import run_script
from vlmtsc.settings import DescriptionKind, EndpointSettings, LeakedKind, RequestLimits


def describe_series(
    series: Path,
    dataset: str,
    kind: DescriptionKind | LeakedKind,
    descriptions: Path,
    settings: EndpointSettings | None = None,
    cache: Path = Path("describer_cache"),
    limits: RequestLimits = RequestLimits(),  # noqa: B008 (frozen)
) -> None:
    """Describe every series of a dataset in words: by a template computed from it, or by a hosted model.

    The hosted model's address and key are the environment variables VLMTSC_DESCRIBER_URL and VLMTSC_DESCRIBER_KEY. It
    receives the dataset's name and the numbers; the class only for the leaked kinds.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    dataset : str
        Name, written into the output and into requests.
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}
        The course of each channel with its numbers, or its salient traits; `leaked`: and the class.
    descriptions : Path
        One paragraph for each case (.json) to write.
    settings : EndpointSettings, optional
        Hosted model, parameters, and the format of the numbers; by default the template.
    cache : Path
        Folder of cached answers, shared by runs.
    limits : RequestLimits
        Cap, rate, timeout, attempts.
    """
    hosted: Describer | None = None
    if settings is not None:
        # Here, because no other step needs the network's libraries.
        from vlmtsc.describe.client import DescriberClient, Endpoint

        client = DescriberClient(Endpoint.from_environment(os.environ), limits, cache)
        hosted = partial(client.describe, dataset=dataset, settings=settings)
    write_json(descriptions, describe_dataset(CleanSeries.load(series), dataset, kind, hosted))


if __name__ == "__main__":
    run_script(describe_series)

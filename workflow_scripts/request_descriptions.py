"""Have every series of a dataset described by a hosted model."""

from __future__ import annotations

import os
from pathlib import Path

from vlmtsc.data.series import CleanSeries
from vlmtsc.files import write_json
from vlmtsc.script import run_script
from vlmtsc.settings import DescriptionKind, EndpointSettings, LeakedKind, RequestLimits


def request_descriptions(
    series: Path,
    dataset: str,
    kind: DescriptionKind | LeakedKind,
    settings: EndpointSettings,
    cache: Path,
    descriptions: Path,
    limits: RequestLimits = RequestLimits(),  # noqa: B008 (frozen)
) -> None:
    """Have every series of a dataset described by a hosted model.

    The endpoint's address and key are the environment variables VLMTSC_DESCRIBER_URL and VLMTSC_DESCRIBER_KEY. It
    receives the dataset's name and the numbers; the class only for the leaked kinds.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    dataset : str
        Name, part of the prompt.
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}
        Kind of text to ask for.
    settings : EndpointSettings
        Model, parameters, and the format of the numbers.
    cache : Path
        Folder of cached answers, shared by runs.
    descriptions : Path
        One paragraph for each case (.json) to write.
    limits : RequestLimits
        Cap, rate, timeout, attempts.
    """
    # Here, because no other step needs the network's libraries.
    from vlmtsc.describe.client import DescriberClient, Endpoint, describe_by_endpoint

    client = DescriberClient(Endpoint.from_environment(os.environ), limits, cache)
    write_json(descriptions, describe_by_endpoint(CleanSeries.load(series), dataset, kind, settings, client))


if __name__ == "__main__":
    run_script(request_descriptions)

"""Have every series of a dataset described by a hosted model."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from vlmtsc.data.series import CleanSeries
from vlmtsc.describe.files import write_descriptions
from vlmtsc.describe.leak import what_to_ask
from vlmtsc.script import run_script
from vlmtsc.settings import DescriptionKind, EndpointSettings, LeakedKind, RequestLimits

logger = logging.getLogger("vlmtsc.request_descriptions")


def request_descriptions(
    series: Path,
    dataset: str,
    kind: DescriptionKind | LeakedKind,
    settings: EndpointSettings,
    cache: Path,
    descriptions: Path,
    limits: RequestLimits = RequestLimits(),  # noqa: B008 (frozen)
    log: Path | None = None,
) -> None:
    """Have every series of a dataset described by a hosted model.

    The endpoint's address and key are the environment variables VLMTSC_DESCRIBER_URL and VLMTSC_DESCRIBER_KEY. It
    is sent the dataset's name and the numbers; and the class only for the kinds that are to show what a leak is worth.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    dataset : str
        Name, told to the model.
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}
        What is asked for.
    settings : EndpointSettings
        Model, parameters, and the form of the numbers.
    cache : Path
        Folder of answers, kept over runs.
    descriptions : Path
        One paragraph for each case (.json) to write.
    limits : RequestLimits
        Cap, rate, timeout, attempts.
    log : Path, optional
        File for messages.
    """
    # Here, because the network's libraries are needed by no other step.
    from vlmtsc.describe.chat_request import request_body
    from vlmtsc.describe.client import DescriberClient, Endpoint

    client = DescriberClient(Endpoint.from_environment(os.environ), limits, cache)
    clean = CleanSeries.load(series)
    asked, told = what_to_ask(clean, kind)
    bodies = [
        request_body(values, asked, dataset, settings, leaked_label=label)
        for values, label in zip(clean.values, told, strict=True)
    ]
    answers = client.ask(bodies, f"{dataset}, {kind}")
    if answers.cut:
        logger.warning("%s: %d texts end at max_tokens=%d", dataset, answers.cut, settings.max_tokens)
    facts = {
        "settings": settings.model_dump(),
        "answered_by": answers.models,
        "cut_at_max_tokens": answers.cut,
    }
    texts = dict(zip(clean.case_ids.tolist(), answers.texts, strict=True))
    write_descriptions(descriptions, dataset, kind, "endpoint", facts, texts)


if __name__ == "__main__":
    run_script(request_descriptions)

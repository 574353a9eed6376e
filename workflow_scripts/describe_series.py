"""Describe every series of a dataset in words computed from it."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.data.series import CleanSeries
from vlmtsc.describe.files import write_descriptions
from vlmtsc.describe.settings import DescriptionKind
from vlmtsc.describe.template import describe_template
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.describe_series")


def describe_series(
    series: Path, dataset: str, kind: DescriptionKind, descriptions: Path, log: Path | None = None
) -> None:
    """Describe every series of a dataset in words computed from it.

    No label is read, and no network is needed.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    dataset : str
        Name, written into the output.
    kind : {"signal_analysis", "rationale"}
        The course of each channel with its numbers, or what stands out.
    descriptions : Path
        One paragraph for each case (.json) to write.
    log : Path, optional
        File for messages.
    """
    clean = CleanSeries.load(series)
    texts = {
        identity: describe_template(values, kind)
        for identity, values in zip(clean.case_ids.tolist(), clean.values, strict=True)
    }
    write_descriptions(descriptions, dataset, kind, "template", {}, texts)
    mean = sum(map(len, texts.values())) / len(texts)
    logger.info("%s: %d texts of %.0f characters on average", dataset, len(texts), mean)


if __name__ == "__main__":
    run_script(describe_series)

"""Describe every series of a dataset in words computed from it."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.data.series import CleanSeries
from vlmtsc.describe.files import write_descriptions
from vlmtsc.describe.leak import what_to_ask
from vlmtsc.describe.template import describe_template
from vlmtsc.script import run_script
from vlmtsc.settings import DescriptionKind, LeakedKind

logger = logging.getLogger("vlmtsc.describe_series")


def describe_series(
    series: Path,
    dataset: str,
    kind: DescriptionKind | LeakedKind,
    descriptions: Path,
    log: Path | None = None,
) -> None:
    """Describe every series of a dataset in words computed from it.

    No network is needed. No label is told, but to the kinds that are to show what a leak is worth.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    dataset : str
        Name, written into the output.
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}
        The course of each channel with its numbers, or what stands out; `leaked`: and which class it is.
    descriptions : Path
        One paragraph for each case (.json) to write.
    log : Path, optional
        File for messages.
    """
    clean = CleanSeries.load(series)
    asked, told = what_to_ask(clean, kind)
    texts = {
        identity: describe_template(values, asked, leaked_label=label)
        for identity, values, label in zip(clean.case_ids.tolist(), clean.values, told, strict=True)
    }
    write_descriptions(descriptions, dataset, kind, "template", {}, texts)
    mean = sum(map(len, texts.values())) / len(texts)
    logger.info("%s: %d texts of %.0f characters on average", dataset, len(texts), mean)


if __name__ == "__main__":
    run_script(describe_series)

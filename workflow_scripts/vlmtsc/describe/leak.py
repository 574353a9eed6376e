"""What a describer is told about the class of a case: nothing, unless a fault of the original is to be measured."""

from __future__ import annotations

from vlmtsc.data.cleaning import merge_labels
from vlmtsc.data.series import CleanSeries
from vlmtsc.representation.prompts import label_texts
from vlmtsc.settings import DescriptionKind, LeakedKind, leaked_kind


def what_to_ask(
    series: CleanSeries, kind: DescriptionKind | LeakedKind
) -> tuple[DescriptionKind, list[str] | list[None]]:
    """Return what a describer is asked for, and what it is told about the class of each case.

    Parameters
    ----------
    series : CleanSeries
        Its labels are read for the leaked kinds only.
    kind : {"signal_analysis", "rationale", "leaked_rationale", "leaked_rationale_merged_labels"}

    Returns
    -------
    asked : {"signal_analysis", "rationale"}
    told : list of str or None
        By case. With a leak (switch `leaked_rationale`) the number by which the case's class is answered: in the
        original label and answer are the same text.
    """
    if kind == "signal_analysis" or kind == "rationale":
        return kind, [None] * len(series.label_index)
    if kind == leaked_kind(merged_labels=True):
        series = merge_labels(series)
    answers = label_texts("numbers", series.classes.tolist())
    return "rationale", [answers[index] for index in series.label_index.tolist()]

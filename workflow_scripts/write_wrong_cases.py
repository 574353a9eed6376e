"""Write a page of the test cases of a dataset that models have most confidently wrong."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlmtsc.errors import InputError
from vlmtsc.evaluation.predictions import read_predictions
from vlmtsc.files import atomic_path, read_json
from vlmtsc.reporting.cases import ScoredRun, WrongCase, confidence_order
from vlmtsc.reporting.wrong_cases import CASES, MAX_SCENARIOS, ScenarioCases, ShownCase, wrong_cases_page
from vlmtsc.representation.plot_files import PlotPath, plots_in
from vlmtsc.representation.representation import Representation
from vlmtsc.script import run_script

logger = logging.getLogger("vlmtsc.write_wrong_cases")


def write_wrong_cases(
    results: Path,
    dataset: str,
    protocol: str,
    runs: list[str],
    plots: dict[str, str],
    page: Path,
    log: Path | None = None,
) -> None:
    """Write a page of the test cases of a dataset that models have most confidently wrong.

    Parameters
    ----------
    results : Path
        Folder of the workflow's results.
    dataset, protocol : str
        What the runs share.
    runs : list of str
        Runs as ``{model}/{scenario}/seed-{seed}``; the seeds of a model and scenario belong together.
    plots : dict of str to str
        By ``{model}/{scenario}``, the folder of the plots that it shows; empty if it shows none.
    page : Path
        HTML to write.
    log : Path, optional
        File for messages.
    """
    seeds: dict[str, list[int]] = {}
    for run in runs:
        name, _, seed = run.rpartition("/seed-")
        seeds.setdefault(name, []).append(int(seed))
    several = len({name.split("/")[0] for name in seeds}) > 1
    sections: list[ScenarioCases] = []
    for name, of_scenario in seeds.items():
        model, scenario = name.split("/")
        place = f"{model}/{dataset}/{protocol}/{scenario}"
        conversations = results / "conversations" / place
        representation = Representation.load(conversations / "representation.json")
        found = [
            read_run(results / "runs" / place / f"seed-{seed}/predictions.csv", seed, representation)
            for seed in of_scenario
        ]
        wrong = confidence_order(found)
        shown = wrong[:CASES] if len(sections) < MAX_SCENARIOS else []
        sections.append(
            ScenarioCases(
                title=f"{scenario} ({model})" if several else scenario,
                seeds=tuple(of_scenario),
                classes=representation.classes,
                answers=representation.label_texts,
                n_cases=len(found[0].ids),
                wrong=tuple(wrong),
                shown=tuple(show_cases(shown, conversations / "test.json", representation, plots[name])),
            )
        )
    with atomic_path(page) as path:
        path.write_text(wrong_cases_page(dataset, protocol, sections), encoding="utf-8")
    logger.info(
        "%s: %d scenarios, %d wrong cases", dataset, len(sections), sum(len(s.wrong) for s in sections)
    )


def read_run(predictions: Path, seed: int, representation: Representation) -> ScoredRun:
    """Read what a run has predicted.

    Raises
    ------
    InputError
        If the classes are not those of the scenario.
    """
    ids, label_index, scores = read_predictions(predictions)
    if scores.shape[1] != len(representation.classes):
        raise InputError(
            f"{predictions}: {scores.shape[1]} classes; allowed: the scenario's {len(representation.classes)}"
        )
    return ScoredRun(seed, ids, label_index, scores)


def show_cases(
    cases: Sequence[WrongCase], test: Path, representation: Representation, plots: str
) -> Iterator[ShownCase]:
    """Yield cases with prompt and plot.

    Parameters
    ----------
    cases : sequence of WrongCase
    test : Path
        Conversations (.json) of the test part.
    representation : Representation
    plots : str
        Folder of plots; empty if the scenario shows none.

    Raises
    ------
    InputError
        If a case is not in the test part, or a plot is missing.
    """
    if not cases:
        return
    records = {record["id"]: record for record in read_json(test)}
    place = plots_in(Path(plots)) if representation.has_image else None
    for case in cases:
        if case.id not in records:
            raise InputError(f"{test}: without the case {case.id}, which has a prediction")
        record = records[case.id]
        plot, size = (None, (0, 0)) if place is None else read_plot(place, record["image"])
        yield ShownCase(case, representation.record_text(record, with_answer=False), plot, size)


def read_plot(place: PlotPath, name: str) -> tuple[bytes, tuple[int, int]]:
    """Read a plot's file as it is, and its width and height; InputError if it is missing or no image."""
    from PIL import Image

    try:
        content = (place / name).read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            return content, image.size
    except (OSError, KeyError) as error:
        raise InputError(
            f"{place}: {name} is missing or no image ({error}); remove the folder to have it drawn again"
        ) from error


if __name__ == "__main__":
    run_script(write_wrong_cases)

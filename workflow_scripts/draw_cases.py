"""Draw the figures and write the page of a dataset's cases."""

from __future__ import annotations

import logging
from pathlib import Path

from vlmtsc.data.series import CleanSeries, load_arrays
from vlmtsc.files import atomic_path
from vlmtsc.paths import Paths, Run
from vlmtsc.planning import CaseScenario, scenario_titles
from vlmtsc.script import paused_collection, run_script

logger = logging.getLogger("vlmtsc.draw_cases")


def draw_cases(
    results: Path,
    dataset: str,
    protocol: str,
    scenarios: list[CaseScenario],
    output: Path,
    explanations: bool = False,
) -> None:
    """Draw the figures and write the page of a dataset's cases.

    The figures are ``prototypes``, ``gallery`` (if a scenario shows a plot) and ``downsampling`` (if one downsamples
    series), as PNG and PDF; the pages are ``wrong_cases.html`` and, if the runs have them, ``explanations.html``.

    Parameters
    ----------
    results : Path
        Folder of the workflow's results.
    dataset, protocol : str
        Dataset and split.
    scenarios : list of CaseScenario
        The scenarios that were run on it.
    output : Path
        Folder to write to; other files in it are left alone.
    explanations : bool, default False
        Whether the runs have explanations.
    """
    with paused_collection():
        from vlmtsc.reporting.explanations import explanations_page
        from vlmtsc.reporting.gallery import draw_downsampling, draw_gallery, draw_prototypes
        from vlmtsc.reporting.style import save_png_and_pdf
        from vlmtsc.reporting.wrong_cases import wrong_cases, wrong_cases_page
        from vlmtsc.representation.representation import Representation
    paths = Paths(str(results))
    keys = [Run(shown.model, dataset, protocol, shown.scenario, 0) for shown in scenarios]
    series = CleanSeries.load(Path(paths.dataset(keys[0])) / "series.npz")
    train = load_arrays(Path(paths.split(keys[0])) / "split.npz", ["train"])["train"]
    save_png_and_pdf(draw_prototypes(dataset, protocol, series, train), output, "prototypes")
    if any(shown.plots for shown in scenarios):
        gallery = draw_gallery(dataset, protocol, series, train, scenarios)
        save_png_and_pdf(gallery, output, "gallery", tight=False)
    representations = {
        title: Representation.load(Path(paths.conversations(key)) / "representation.json")
        for shown, key, title in zip(scenarios, keys, scenario_titles(scenarios), strict=True)
        if shown.downsampled
    }
    if representations:
        figure = draw_downsampling(dataset, series, int(train[0]), representations)
        save_png_and_pdf(figure, output, "downsampling")
    sections = wrong_cases(paths, dataset, protocol, scenarios)
    with atomic_path(output / "wrong_cases.html") as page:
        page.write_text(wrong_cases_page(dataset, protocol, sections), encoding="utf-8")
    if explanations:
        with atomic_path(output / "explanations.html") as page:
            page.write_text(explanations_page(paths, dataset, protocol, series, scenarios), encoding="utf-8")
    wrong = sum(len(section.wrong) for section in sections)
    logger.info("%s: %d scenarios, %d wrong cases", dataset, len(scenarios), wrong)


if __name__ == "__main__":
    run_script(draw_cases)

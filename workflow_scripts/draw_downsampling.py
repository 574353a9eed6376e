"""Draw what downsampling leaves of one series of a dataset."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from vlmtsc.data.series import CleanSeries, load_arrays
from vlmtsc.files import atomic_path
from vlmtsc.representation.representation import Representation
from vlmtsc.script import heavy_imports, run_script

logger = logging.getLogger("vlmtsc.draw_downsampling")

#: The paper's methods, always shown.
METHODS = ("uniform", "adaptive")


def draw_downsampling(
    series: Path,
    split: Path,
    dataset: str,
    conversations: Path,
    scenarios: dict[str, str],
    figure: Path,
    figure_print: Path,
    log: Path | None = None,
) -> None:
    """Draw one series, whole and downsampled by the factor of the scenario that leaves out most.

    Parameters
    ----------
    series : Path
        Clean series (.npz) of `preprocess_dataset`.
    split : Path
        Split (.npz) of `split_dataset`; the first case of its training part is drawn.
    dataset : str
        Its name, for the title.
    conversations : Path
        Folder of all conversations.
    scenarios : dict of str to str
        By a name for readers, the folder below `conversations` of each scenario that downsamples series.
    figure, figure_print : Path
        PNG and PDF to write.
    log : Path, optional
        File for messages.
    """
    with heavy_imports():
        from vlmtsc.reporting.downsampling_figures import downsampled_forms
        from vlmtsc.reporting.downsampling_figures import draw_downsampling as draw
        from vlmtsc.reporting.style import save_figure
    data = CleanSeries.load(series)
    case = int(load_arrays(split, ["train"])["train"][0])
    found = {
        name: Representation.load(conversations / folder / "representation.json")
        for name, folder in scenarios.items()
    }
    name, representation = most_downsampled(found)
    methods = dict.fromkeys([*METHODS, representation.scenario.downsampling])
    label = data.classes[data.label_index[case]]
    drawn = draw(
        f"{dataset}, case {case} (class {label})",
        [told_factor(name, representation)],
        downsampled_forms(data.values[case], list(methods), representation.factor),
    )
    for path in (figure, figure_print):
        with atomic_path(path) as temporary:
            save_figure(drawn, temporary)
    logger.info("%s: factor %d of %s", dataset, representation.factor, name)


def most_downsampled(representations: Mapping[str, Representation]) -> tuple[str, Representation]:
    """Return the scenario with the largest factor, the first of several, with its name."""
    return max(representations.items(), key=lambda item: item[1].factor)


def told_factor(name: str, representation: Representation) -> str:
    """Say where the factor comes from."""
    scenario, factor = representation.scenario, representation.factor
    told = f"scenario {name}, method {scenario.downsampling}"
    if scenario.restores("first_case_factor"):
        return f"factor {factor}: the original's, from its first case ({told})"
    if scenario.factor != "auto":
        return f"factor {factor}: fixed by the scenario ({told})"
    if factor == 1:
        return f"every case fits {scenario.context_length} tokens as it is (scenario {name}): nothing is left out"
    return (
        f"factor {factor}: the smallest with which every case fits {scenario.context_length} tokens ({told})"
    )


if __name__ == "__main__":
    run_script(draw_downsampling)

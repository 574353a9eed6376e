"""A local page on finished runs: a series, the plot that the model gets, class probabilities, an explanation."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.special import softmax

from vlmtsc.classifier import VLMClassifier
from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.evaluation.new_series import render_cases
from vlmtsc.evaluation.unlabelled import FinishedRun
from vlmtsc.files import read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.reporting.explanations import as_png, draw_explanations

# No request to another machine: neither usage statistics nor fonts.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}


def find_runs(folder: Path) -> dict[str, Path]:
    """Return the finished runs in a folder, or the one that it is, by their place below the folder ``runs``."""
    files = [folder / "metrics.json"] if (folder / "metrics.json").is_file() else folder.rglob("metrics.json")
    runs = [file.parent for file in sorted(files) if (file.parent / "adapter").is_dir()]
    if not runs:
        raise InputError(
            f"{folder}: no finished run; allowed: a run's folder, or one with runs, as results/runs"
        )
    return {"/".join(run.resolve().parts[-5:]): run for run in runs}


class Page:
    """What the page computes: cases of a run, or of a file, and answers for one of them."""

    def __init__(self, runs: dict[str, Path], model: Path | None = None, threads: int = 1) -> None:
        self.runs = runs
        # Two models at a time: a page that switches between runs need not load them again.
        self.classifier = lru_cache(2)(lambda name: VLMClassifier.from_run(runs[name], model, threads))
        self.test_cases = cache(self._test_cases)

    def _test_cases(self, name: str) -> dict[str, np.ndarray]:
        """Return the test series of a run by identifier, if its results folder has them."""
        finished = FinishedRun.open(self.runs[name])
        paths, run = Paths(str(finished.results)), Run(**finished.parameters["run"])
        test = Path(paths.conversations(run)) / "test.json"
        if not test.is_file():
            return {}
        series = CleanSeries.load(Path(paths.dataset(run)) / "series.npz")
        position = {identity: row for row, identity in enumerate(series.case_ids.tolist())}
        return {record["id"]: series.values[position[record["id"]]] for record in read_json(test)}

    def cases(self, name: str, file: str | None) -> dict[str, np.ndarray]:
        """Return the series to choose from: of the file (CSV) if there is one, otherwise test cases."""
        if not file:
            return self.test_cases(name)
        own = FinishedRun.open(self.runs[name]).read(Path(file))
        return dict(zip(own.ids, own.series, strict=True))

    def answer(
        self, name: str, file: str | None, case: str | None
    ) -> tuple[np.ndarray | None, dict[str, float], dict[str, float] | None]:
        """Return the plot, the class probabilities, and those with a blank plot; None without a plot."""
        classifier, raw = self.classifier(name), [self._case(name, file, case)]
        plots = render_cases(classifier.predictor.representation, classifier.prepare(raw)[0])

        def probabilities(*, blank: bool) -> dict[str, float]:
            values = softmax(classifier.score_series(raw, blank=blank)[0])
            return dict(zip(classifier.classes_.tolist(), values.tolist(), strict=True))

        shown = probabilities(blank=False)
        return (plots[0], shown, probabilities(blank=True)) if plots else (None, shown, None)

    def explanation(self, name: str, file: str | None, case: str | None) -> np.ndarray:
        """Return the picture of a series coloured by attribution, uint8 of shape (height, width, 4)."""
        classifier, raw = self.classifier(name), [self._case(name, file, case)]
        [explained] = classifier.explain(raw)
        label = classifier.predictor.representation.classes[explained.predicted]
        title = f"why {label} ({100 * explained.probability:.1f}%)"
        figure = draw_explanations(list(classifier.prepare(raw)[0]), [explained.by_timepoint()], [title])
        return np.asarray(Image.open(io.BytesIO(as_png(figure))))

    def _case(self, name: str, file: str | None, case: str | None) -> np.ndarray:
        cases = self.cases(name, file)
        if case not in cases:
            raise InputError(
                f"case {case}: not in {Path(file).name if file else 'the test set'}; choose another"
            )
        return cases[case]


def build_page(page: Page) -> Any:
    """Return the page as Gradio's `Blocks`."""
    import gradio as gr

    def guarded(function: Callable[..., Any], n_outputs: int) -> Callable[..., Any]:
        """Return a function whose last output is the message of an InputError, and whose others are then empty."""

        def call(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except InputError as error:
                return (*[None] * n_outputs, f"**Error:** {error}")

        return call

    def choose(name: str, file: str | None) -> tuple[Any, str]:
        cases = list(page.cases(name, file))
        return gr.Dropdown(choices=cases, value=cases[0] if cases else None), f"{len(cases)} series"

    def answer(name: str, file: str | None, case: str | None) -> tuple[Any, ...]:
        plot, shown, blank = page.answer(name, file, case)
        return plot, shown, blank, ""

    def explain(name: str, file: str | None, case: str | None) -> tuple[Any, ...]:
        return page.explanation(name, file, case), ""

    names = list(page.runs)
    with gr.Blocks(title="vlmtsc", analytics_enabled=False) as blocks:
        gr.Markdown("# Time-series classification with a vision-language model")
        run = gr.Dropdown(names, value=names[0], label="Run", elem_id="run")
        with gr.Row():
            file = gr.File(
                label="Series (.csv, one a row); none: test cases", file_types=[".csv"], elem_id="file"
            )
            case = gr.Dropdown([], label="Case", elem_id="case")
        with gr.Row():
            classify = gr.Button("Classify", variant="primary", elem_id="classify")
            why = gr.Button("Explain", elem_id="explain")
        message = gr.Markdown(elem_id="message")
        with gr.Row():
            plot = gr.Image(label="The plot, as the model gets it", format="png", elem_id="plot")
            with gr.Column():
                shown = gr.Label(label="Class probabilities", elem_id="shown")
                blank = gr.Label(label="With a blank plot", elem_id="blank")
        explained = gr.Image(
            label="Red: less likely without this part; blue: more likely", format="png", elem_id="explained"
        )
        inputs = [run, file, case]
        for event in (blocks.load, run.change, file.change):
            event(guarded(choose, 1), [run, file], [case, message])
        classify.click(guarded(answer, 3), inputs, [plot, shown, blank, message])
        why.click(guarded(explain, 1), inputs, [explained, message])
    return blocks


def show_page(runs: Path, model: Path | None, host: str, port: int, threads: int) -> None:
    """Serve the page until it is interrupted."""
    try:
        import gradio as gr
    except ImportError as error:
        raise InputError(
            "demo: gradio is not installed; make demo installs it, or pip install gradio"
        ) from error
    blocks = build_page(Page(find_runs(runs), model, threads))
    blocks.launch(
        server_name=host, server_port=port, share=False, ssr_mode=False, theme=gr.themes.Default(**FONTS)
    )

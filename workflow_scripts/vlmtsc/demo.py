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
from vlmtsc.reporting.explanations import answer_title, as_png, draw_explanations

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
    names = ["/".join(run.resolve().parts[-5:]) for run in runs]
    if len(set(names)) < len(names):  # of several results folders
        names = list(map(str, runs))
    return dict(zip(names, runs, strict=True))


class Page:
    """What the page computes: cases of a run, or of a file, and answers for one of them."""

    def __init__(self, runs: dict[str, Path], model: Path | None = None, threads: int = 1) -> None:
        self.runs = runs
        # Two models at a time: a page that switches between runs need not load them again.
        self.classifier = lru_cache(2)(lambda name: VLMClassifier.from_run(runs[name], model, threads))
        self.test_cases = cache(self._test_cases)

    def _test_cases(self, name: str) -> dict[str, tuple[np.ndarray, str | None]]:
        """Return the test series of a run and their classes by identifier, if its results folder has them."""
        finished = FinishedRun.open(self.runs[name])
        test = Path(finished.paths.conversations(finished.run)) / "test.json"
        if not test.is_file():
            return {}
        series = CleanSeries.load(Path(finished.paths.dataset(finished.run)) / "series.npz")
        values = dict(zip(series.case_ids.tolist(), series.values, strict=True))
        return {record["id"]: (values[record["id"]], record["label"]) for record in read_json(test)}

    def cases(self, name: str, file: str | None) -> dict[str, tuple[np.ndarray, str | None]]:
        """Return the series to choose from, with their classes if known: of the file (CSV), or else test cases."""
        if not file:
            return self.test_cases(name)
        own = FinishedRun.open(self.runs[name]).read(Path(file))
        return {identity: (case, None) for identity, case in zip(own.ids, own.series, strict=True)}

    def answer(
        self, name: str, file: str | None, case: str | None
    ) -> tuple[dict[str, float], dict[str, float] | None, str, np.ndarray | None, str]:
        """Return class probabilities, those with a blank plot, question, plot, and the case's class if known."""
        classifier, (raw, known) = self.classifier(name), self._case(name, file, case)

        def probabilities(*, blank: bool) -> dict[str, float]:
            values = softmax(classifier.score_series([raw], blank=blank)[0])
            return dict(zip(classifier.classes_.tolist(), values.tolist(), strict=True))

        representation, (cases, [paragraph]) = classifier.representation_, classifier.prepare([raw])
        question = representation.prompt(cases[0], description=paragraph)
        shown, plots = probabilities(blank=False), render_cases(representation, cases)
        if not plots:
            return shown, None, question, None, known
        return shown, probabilities(blank=True), question, plots[0], known

    def explanation(self, name: str, file: str | None, case: str | None) -> tuple[np.ndarray, str]:
        """Return the picture of a series coloured by attribution, uint8 of shape (height, width, 4); and the class."""
        classifier, (raw, known) = self.classifier(name), self._case(name, file, case)
        [explained] = classifier.explain([raw])
        title = answer_title(str(case), classifier.classes_[explained.predicted], explained.probability)
        figure = draw_explanations(list(classifier.prepare([raw])[0]), [explained.by_timepoint()], [title])
        return np.asarray(Image.open(io.BytesIO(as_png(figure)))), known

    def _case(self, name: str, file: str | None, case: str | None) -> tuple[np.ndarray, str]:
        """Return a series, and a sentence on its class if that is known."""
        cases = self.cases(name, file)
        if case not in cases:
            raise InputError(
                f"case {case}: not in {Path(file).name if file else 'the test set'}; choose another"
            )
        raw, label = cases[case]
        return raw, "" if label is None else f"{case} is of the class {label}"


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

    def picture(caption: str, name: str) -> Any:
        gr.Markdown(caption)  # a label of the picture would cover a part of it
        return gr.Image(
            format="png", elem_id=name, show_label=False, buttons=["download", "fullscreen"], height=260
        )

    names = list(page.runs)
    shown_first = (name for name in names if FinishedRun.open(page.runs[name]).representation.has_image)
    first = next(shown_first, names[0])
    with gr.Blocks(title="vlmtsc", analytics_enabled=False) as blocks:
        gr.Markdown("# Time-series classification with a vision-language model")
        with gr.Row():
            with gr.Column():
                run = gr.Dropdown(names, value=first, label="Run", elem_id="run")
                case = gr.Dropdown([], label="Case", elem_id="case")
            file = gr.File(
                label="Series (.csv, one a row) in place of test cases",
                file_types=[".csv"],
                elem_id="file",
                height=170,
            )
        with gr.Row():
            classify = gr.Button("Classify", variant="primary", elem_id="classify")
            why = gr.Button("Explain", elem_id="explain")
        message = gr.Markdown(elem_id="message")
        with gr.Row():
            with gr.Column():
                shown = gr.Label(label="Class probabilities", elem_id="shown")
                blank = gr.Label(label="With a blank plot", elem_id="blank")
                question = gr.Textbox(label="The question", lines=3, elem_id="question")
            with gr.Column():
                plot = picture("The plot, as the model gets it", "plot")
                explained = picture(
                    "The explanation: red parts make the answer more likely, blue ones less", "explained"
                )
        inputs, outputs = [run, file, case], [shown, blank, question, plot]
        for event in (blocks.load, run.change, file.change):
            event(guarded(choose, 1), [run, file], [case, message])
        # Answers of another series would be taken for those of this one.
        for change in (run.change, case.change):
            change(lambda: [None] * 5, None, [*outputs, explained])
        one_at_a_time: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
        classify.click(guarded(page.answer, 4), inputs, [*outputs, message], **one_at_a_time)
        why.click(guarded(page.explanation, 1), inputs, [explained, message], **one_at_a_time)
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
        server_name=host,
        server_port=port,
        share=False,
        ssr_mode=False,
        footer_links=[],
        theme=gr.themes.Default(**FONTS),
    )

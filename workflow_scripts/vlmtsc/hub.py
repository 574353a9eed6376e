"""A finished run for use elsewhere: adapter, merged checkpoint and model card, and their upload to the hub."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HfHubHTTPError
from jinja2 import Environment, StrictUndefined
from transformers.utils import logging as transformers_logging

import vlmtsc.model.pooled_llava
from vlmtsc.classifier import CLASSIFIER, PROJECT, VLMClassifier
from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.evaluation.unlabelled import FinishedRun
from vlmtsc.files import atomic_path, check_new_folder, read_json, write_json
from vlmtsc.model.adapter import write_merged_checkpoint
from vlmtsc.model.files import POOLED, check_kind, load_checked_processor
from vlmtsc.reporting.tables import format_cell, percent, with_interval
from vlmtsc.representation.plot_files import plots_in

#: File of the embedded model's classes, which transformers does not know.
CLASSES = "pooled_llava.py"
CARD = """\
# {{ run.scenario }}: {{ run.dataset }}

A LoRA adapter of the vision-language model `{{ run.model }}`, which answers with the class of a time series of the
dataset {{ run.dataset }}{{ ", shown as " ~ shown }}. Trained and evaluated by vlmtsc, a
re-implementation of [VLM-TSC](https://arxiv.org/abs/2412.17304).

## Results

Test accuracy **{{ accuracy }}** (95% interval), {{ metrics.n_cases }} cases, protocol `{{ run.protocol }}`
({{ protocol }}), seed {{ run.seed }}. Answers and their classes: {{ answers }}.
{% if baselines %}

| baseline on the same split | accuracy |
| --- | ---: |
{% for name, value in baselines %}
| {{ name }} | {{ value }} |
{% endfor %}
{% endif %}
{% if controls %}

| control: one input corrupted | accuracy | predictions changed | finding |
| --- | ---: | ---: | --- |
{% for row in controls %}
| {{ row | join(" | ") }} |
{% endfor %}
{% endif %}

## Training

{{ record.train_samples }} examples (cases, repeats included) and {{ record.train_tokens }} tokens in
{{ record.steps }} steps, {{ record.wall_seconds }} s on
{{ record.hardware.gpus | join(", ") or record.hardware.processor }};
{{ record.trainable_parameters }} of {{ record.total_parameters }} parameters trained. Recipe and representation:
`parameters.json`.

## Use

Of a new series, with vlmtsc (preprocessing, plot and prompt as in training):

```python
from vlmtsc import VLMClassifier

classifier = VLMClassifier.load("."{{ ", checkpoint=BASE_MODEL" if not assembled }})
classifier.predict_proba(X)  # X: (n_cases, {{ n_channels }}, {{ n_timepoints }})
```
{% if merged %}

Without vlmtsc, for a question and a plot made by it, such as those in `example/`:

```python
{% if classes %}
import sys

sys.path.append("merged")
import pooled_llava  # the model's classes; needs the package efficientnet-lite-pytorch
{% endif %}
from pathlib import Path

from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("merged")
processor = AutoProcessor.from_pretrained("merged")
{% if plot %}
image = Image.open("example/plot.png")
{% else %}
image = None
{% endif %}
inputs = processor(text=Path("example/prompt.txt").read_text(), images=image, return_tensors="pt")
output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
print(processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```

This prints an answer. Answers and their classes: {{ answers }}.
{% endif %}

`adapter/` is loaded with peft onto the base model.

## Limits

- It knows the classes above and no other, and answers with one of them for any input, noise included.
- It was tested on {{ metrics.n_cases }} cases of one dataset. Nothing is known about series of other sources, lengths
  or sampling rates.
- Class probabilities are not calibrated. Not for medical or safety decisions.

## Licences

The adapter: Apache-2.0. The base model and the dataset have terms of their own
{{- ": " ~ citation if citation else "" }}.
"""


def export_run(run: Path, output: Path, model: Path | None = None, *, merge: bool = True) -> None:
    """Write a finished run as a folder for the hub, which `VLMClassifier.load` reads.

    Parameters
    ----------
    run : Path
        Folder of the run in its results folder.
    output : Path
        New folder: ``adapter/``, ``parameters.json``, ``classifier.json``, ``README.md`` (the model card) and
        ``example/`` (question and plot of the first test case); with `merge` also ``merged/``, a checkpoint that
        transformers loads alone, with a file of its classes where it does not know them.
    model : Path, optional
        Checkpoint folder of the base model, by default in the results folder.

    Raises
    ------
    InputError
        If the run has not been evaluated, or `output` exists.
    """
    check_new_folder(output)
    finished = FinishedRun.open(run, model)
    if not (finished.folder / "metrics.json").is_file():
        raise InputError(f"{run}: no metrics.json; allowed: a run that has been evaluated")
    transformers_logging.disable_progress_bar()
    with atomic_path(output) as folder:
        VLMClassifier.from_run(run, model).save(folder)
        _forget_folders(folder / CLASSIFIER, finished.run.model)
        plot = _write_example(finished, folder / "example")
        classes = False
        if merge:
            write_merged_checkpoint(finished.checkpoint, finished.folder / "adapter", folder / "merged")
            load_checked_processor(finished.checkpoint).save_pretrained(folder / "merged")
            classes = check_kind(finished.checkpoint) == POOLED
            if classes:
                shutil.copy(vlmtsc.model.pooled_llava.__file__, folder / "merged" / CLASSES)
        card = model_card(finished, merged=merge, classes=classes, plot=plot)
        (folder / "README.md").write_text(card, "utf-8")


def _forget_folders(classifier: Path, model: str) -> None:
    """Remove this machine's folders from a saved classifier; a base model from a folder is left by its name."""
    content = read_json(classifier)
    content["fitted"]["checkpoint"] = None
    content["params"]["model"] = model
    write_json(classifier, content)


def _write_example(finished: FinishedRun, folder: Path) -> bool:
    """Write the question of the first test case, and its plot if there is one and its folder is left."""
    paths, run = finished.paths, finished.run
    test = Path(paths.conversations(run)) / "test.json"
    folder.mkdir()
    if not test.is_file():
        return False
    record, representation = read_json(test)[0], finished.representation
    text = representation.record_text(record, with_answer=False)
    (folder / "prompt.txt").write_text(text, encoding="utf-8")
    if not representation.has_image:
        return False
    for plots in (paths.scenario_plots(run), paths.plots(run, representation.scenario.plot)):
        plot = plots_in(Path(plots)) / record["image"]
        if plot.is_file():
            (folder / "plot.png").write_bytes(plot.read_bytes())
            return True
    return False


def model_card(finished: FinishedRun, *, merged: bool, classes: bool, plot: bool) -> str:
    """Return the model card of a finished run in the hub's format."""
    run = finished.run
    metrics = read_json(finished.folder / "metrics.json")
    low, high = metrics["accuracy_interval_95"]
    configuration = load_configuration_files([], PROJECT)
    row = configuration.model_table.get(run.model)
    dataset = configuration.dataset_table.get(run.dataset)
    scenario, representation = finished.representation.scenario, finished.representation
    baselines = [
        (path.parent.name, percent(read_json(path)["accuracy"]) + " %")
        for pattern in (f"baselines/{run.dataset}", f"probes/{run.model}/{run.dataset}")
        for path in sorted(Path(finished.paths.results, pattern, run.protocol).glob("*/metrics.json"))
    ]
    content: dict[str, Any] = {
        "run": run,
        "metrics": metrics,
        "record": read_json(finished.folder / "run_record.json"),
        "accuracy": with_interval(metrics["accuracy"], low, high) + " %",
        "protocol": _protocol(finished),
        "shown": {"plot": "a plot", "numbers": "numbers", "both": "a plot and numbers"}[scenario.modality],
        "answers": ", ".join(
            f"`{answer}` is {name}"
            for answer, name in zip(representation.label_texts, representation.classes, strict=True)
        ),
        "n_channels": representation.n_channels,
        "n_timepoints": representation.n_timepoints,
        "baselines": baselines,
        "controls": _controls(finished.folder / "controls.csv"),
        "assembled": row is not None and row.source.folder is None,
        "merged": merged,
        "classes": classes,
        "plot": plot,
        "citation": dataset and dataset.citation,
    }
    text = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined).from_string(CARD)
    hub = None if row is None or row.source.hub is None else row.source.hub.repository
    data = ModelCardData(
        model_name=f"vlmtsc {run.model} {run.dataset} {run.scenario}",
        base_model=hub,
        library_name="peft",
        license="apache-2.0",
        tags=["time-series-classification", "vision-language-model", "lora"],
        eval_results=[
            EvalResult(
                task_type="time-series-classification",
                dataset_type=run.dataset,
                dataset_name=run.dataset,
                dataset_split=f"test ({run.protocol})",
                metric_type="accuracy",
                metric_value=metrics["accuracy"],
            )
        ],
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text.render(content)}"))


def _protocol(finished: FinishedRun) -> str:
    """Say how the cases of a run were divided."""
    path = Path(finished.paths.split(finished.run)) / "facts.json"
    facts = read_json(path) if path.is_file() else {}
    if facts.get("given"):
        return "the sets given in the data"
    if facts.get("settings", {}).get("own"):
        return "60/20/20 at random, stratified by class"
    return "the archive's own" if finished.run.protocol == "official" else "TRAIN and TEST pooled, 60/20/20"


def _controls(path: Path) -> list[list[str]]:
    """Return the rows of a run's table of controls, as text."""
    if not path.is_file():
        return []
    table = pd.read_csv(path)
    return [
        [row.control, f"{percent(row.accuracy)} %", f"{percent(row.changed)} %", format_cell(row.finding)]
        for row in table[table["control"] != "intact"].itertuples()
    ]


def hub_token() -> str:
    """Return the token of ``HF_TOKEN``; InputError if it is not set."""
    if token := os.environ.get("HF_TOKEN"):
        return token
    raise InputError("upload: HF_TOKEN is not set; allowed: a token of the hub that may write")


def upload_folder(folder: Path, repository: str) -> str:
    """Upload a folder to a repository of the hub, with the token of ``HF_TOKEN``; return the address of the commit.

    A new repository is private.
    """
    api = HfApi(token=hub_token())
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"{repository}: could not be uploaded ({error}); {folder} is complete, remove it to export again"
        ) from error

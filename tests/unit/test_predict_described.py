"""From series to predictions of new ones: preparation; questions with descriptions by the template or an endpoint."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chat_server import ChatServer
from tiny_llava import finetune_into, recipe

from build_conversations import build_conversations
from describe_series import describe_series
from predict_series import predict_series
from preprocess_dataset import preprocess_dataset
from vlmtsc import VLMClassifier
from vlmtsc.data.readers import read_part
from vlmtsc.data.series import CleanSeries, LabelledSeries
from vlmtsc.errors import InputError
from vlmtsc.evaluation.unlabelled import FinishedRun
from vlmtsc.files import read_json, write_json
from vlmtsc.hub import model_card
from vlmtsc.paths import Run
from vlmtsc.settings import (
    KEY_VARIABLE,
    URL_VARIABLE,
    CleaningSettings,
    ColumnOptions,
    EndpointSettings,
    RequestLimits,
    ScenarioSettings,
)
from vlmtsc.training.finetune import TrainingJob

SCENARIO = ScenarioSettings(
    name="described",
    modality="numbers",
    numbers="decimals",
    context_text="rationale",
    plot="none",
    describer="template",
)
VALUES = np.random.default_rng(0).normal(size=(12, 1, 10)).cumsum(axis=2)


@pytest.fixture(scope="module")
def results(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    dataset = folder / "datasets/Toy"
    ids = np.array([f"Toy-{case:05d}" for case in range(12)])
    dataset.mkdir(parents=True)
    CleanSeries(VALUES, np.arange(12) % 2, np.array(["a", "b"]), ids, 8).save(dataset / "series.npz")
    settings = {"missing": "interpolate", "unequal_length": "resample", "normalize": False}
    write_json(dataset / "facts.json", {"settings": settings})
    with (dataset / "split.npz").open("wb") as file:
        np.savez(file, train=np.arange(6), validation=np.arange(6, 9), test=np.arange(9, 12))
    texts = folder / "descriptions/Toy/template/rationale.json"
    describe_series(dataset / "series.npz", "Toy", "rationale", texts)
    names = ("train", "validation", "test", "representation", "budget", "dataset_info")
    made = {name: folder / f"conversations/{name}.json" for name in names}
    build_conversations(
        dataset / "series.npz",
        dataset / "split.npz",
        tiny_checkpoint,
        SCENARIO,
        folder / "conversations",
        descriptions=texts,
    )
    run = folder / "runs/tiny/Toy/pooled/described/seed-0"
    job = TrainingJob(
        run=Run("tiny", "Toy", "pooled", "described", 0),
        model=tiny_checkpoint,
        train=made["train"],
        validation=made["validation"],
        representation=made["representation"],
        settings=recipe(epochs=1),
        checkpoints=folder / "checkpoints",
        adapter=run / "adapter",
        training_log=run / "training_log.csv",
    )
    finetune_into(job, run)
    return folder


@pytest.fixture
def new_series(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    np.savetxt(path, VALUES[9:, 0], delimiter=",")
    return path


def predict(results: Path, tiny_checkpoint: Path, new_series: Path, **options: object) -> pd.DataFrame:
    output = new_series.with_name("predictions.csv")
    run = results / "runs/tiny/Toy/pooled/described/seed-0"
    predict_series(run, new_series, output, model=tiny_checkpoint, **options)  # type: ignore[arg-type]
    return pd.read_csv(output)


def test_new_series_are_described_by_the_template(
    results: Path, tiny_checkpoint: Path, new_series: Path
) -> None:
    table = predict(results, tiny_checkpoint, new_series)
    assert len(table) == 3
    assert set(table["predicted"].astype(str)) <= {"a", "b"}


@pytest.mark.parametrize("equal_length", [False, True])
def test_new_series_are_prepared_as_the_training_series_were(
    results: Path, tiny_checkpoint: Path, tmp_path: Path, equal_length: bool
) -> None:
    values = VALUES.copy()
    values[0, :, 6:] = values[1, :, 2:4] = np.nan
    labels = [str(case % 2) for case in range(12)]
    header = f"@equalLength {str(equal_length).lower()}\n@classLabel true 0 1\n@data\n"
    lines = [
        ",".join(map(repr, case.tolist())) + f":{label}\n"
        for case, label in zip(values[:, 0], labels, strict=True)
    ]
    parts = [read_part((header + "".join(some)).encode(), "x.ts") for some in (lines[:8], lines[8:])]
    LabelledSeries.from_parts(*parts).save(tmp_path / "archive.npz")
    copy, name = tmp_path / "results", "runs/tiny/Toy/pooled/described/seed-0"
    preprocess_dataset(tmp_path / "archive.npz", "Toy", CleaningSettings(), copy / "datasets/Toy")
    expected = CleanSeries.load(copy / "datasets/Toy/series.npz").values
    assert (expected[0, 0, 6:] == values[0, 0, 5]).all() == equal_length
    run = shutil.copytree(results / name, copy / name)

    (tmp_path / "new.ts").write_text(header + "".join(lines))
    np.savetxt(tmp_path / "wide.csv", values[:, 0], delimiter=",")
    np.save(tmp_path / "new.npy", values)
    frame = pd.DataFrame({"id": np.repeat(range(12), 10), "time": [*range(10)] * 12, "x": values.ravel()})
    frame.to_csv(tmp_path / "long.csv", index=False)
    finished = FinishedRun.open(run, tiny_checkpoint)
    for new in ("new.ts", "wide.csv", "new.npy", "long.csv"):
        own = finished.read(tmp_path / new)
        prepared = [finished.prepare(case, place) for case, place in zip(own.series, own.places, strict=True)]
        np.testing.assert_array_equal(prepared, expected, err_msg=new)
    classifier = VLMClassifier.from_run(run, tiny_checkpoint)
    classifier.save(tmp_path / "saved")
    for each in (classifier, VLMClassifier.load(tmp_path / "saved", tiny_checkpoint)):
        np.testing.assert_array_equal(each.prepare(values)[0], expected)


@pytest.mark.parametrize(
    ("first", "columns", "length"),
    [([1, 2, 1], None, 10), ([1, 2, 1], ColumnOptions(layout="wide"), 11), ([1, 3, 1], None, 11)],
    ids=["labels", "said to be values", "no labels"],
)
def test_the_label_in_front_of_an_archive_row_is_no_value(
    results: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    first: list[int],
    columns: ColumnOptions | None,
    length: int,
) -> None:
    finished = FinishedRun.open(results / "runs/tiny/Toy/pooled/described/seed-0", tiny_checkpoint)
    representation = dataclasses.replace(finished.representation, classes=("1", "2"))
    rows = np.column_stack([first, VALUES[:3, 0]])
    np.savetxt(tmp_path / "Toy_TEST.tsv", rows, delimiter="\t")
    own = dataclasses.replace(finished, representation=representation).read(
        tmp_path / "Toy_TEST.tsv", columns
    )
    np.testing.assert_array_equal(own.series, rows[:, None, 11 - length :])
    assert ("read as the label" in caplog.text) == (length == 10)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (None, "TRAIN and TEST pooled, 60/20/20"),
        ({"given": True, "settings": {"own": True}}, "the sets given in the data"),
        ({"given": False, "settings": {"own": True}}, "60/20/20 at random, stratified by class"),
    ],
)
def test_the_model_card_says_how_cases_were_divided_and_what_answers_mean(
    results: Path, tiny_checkpoint: Path, tmp_path: Path, split: object, said: str
) -> None:
    run = shutil.copytree(results, tmp_path / "copy") / "runs/tiny/Toy/pooled/described/seed-0"
    write_json(run / "metrics.json", {"accuracy": 0.5, "accuracy_interval_95": [0.1, 0.9], "n_cases": 3})
    if split:
        write_json(tmp_path / "copy/datasets/Toy/pooled/facts.json", split)
    finished = FinishedRun.open(run, tiny_checkpoint)
    representation = dataclasses.replace(finished.representation, label_texts=("A", "B"))
    finished = dataclasses.replace(finished, representation=representation)
    card = model_card(finished, merged=True, classes=False, plot=False)
    assert f"protocol `pooled`\n({said})" in card
    assert card.count("Answers and their classes: `A` is a, `B` is b.") == 2


def test_a_run_outside_its_results_folder_is_refused(
    results: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(results / "runs/tiny/Toy/pooled/described/seed-0", tmp_path / "copy")
    with pytest.raises(InputError, match=r"copy: no .*facts\.json; .* is read by VLMClassifier\.load"):
        FinishedRun.open(run, tiny_checkpoint)
    facts = results / "datasets/Toy/facts.json"
    assert FinishedRun.open(run, tiny_checkpoint, facts).run.dataset == "Toy"


def test_build_conversations_wants_the_texts_that_the_scenario_shows(
    results: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    dataset = results / "datasets/Toy"
    given = (dataset / "series.npz", dataset / "split.npz", tiny_checkpoint, SCENARIO, tmp_path)
    with pytest.raises(InputError, match="--descriptions is missing; allowed: texts of the kind rationale"):
        build_conversations(*given)
    texts = results / "descriptions/Toy/template/rationale.json"
    with pytest.raises(InputError, match=r"--rationales .*rationale\.json; allowed: none"):
        build_conversations(*given, descriptions=texts, rationales=texts)


def test_new_series_are_described_by_the_endpoint_as_the_training_series_were(
    results: Path, tiny_checkpoint: Path, new_series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "results"
    for part in ("datasets/Toy/facts.json", "runs/tiny/Toy/pooled/described/seed-0/parameters.json"):
        text = (results / part).read_text().replace('"describer": "template"', '"describer": "endpoint"')
        (copy / part).parent.mkdir(parents=True, exist_ok=True)
        (copy / part).write_text(text)
    run = copy / "runs/tiny/Toy/pooled/described/seed-0"
    (run / "adapter").symlink_to(results / "runs/tiny/Toy/pooled/described/seed-0/adapter")
    options = {"describer_cache": tmp_path / "cache", "limits": RequestLimits(requests_per_minute=6000)}
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(InputError, match=r"endpoint/rationale\.json: no such file; allowed: with --descr"):
        predict(copy, tiny_checkpoint, new_series, **options)
    settings = EndpointSettings(model="mine", round_to=1)
    write_json(copy / "descriptions/Toy/endpoint/rationale.json", {"settings": settings.__dict__})
    with pytest.raises(InputError, match="VLMTSC_DESCRIBER_URL is not set"):
        predict(copy, tiny_checkpoint, new_series, **options)
    server = ChatServer()
    try:
        monkeypatch.setenv(URL_VARIABLE, server.url)
        assert len(predict(copy, tiny_checkpoint, new_series, **options)) == 3
    finally:
        server.close()
    assert [body["model"] for _, _, body in server.received] == ["mine"] * 3
    assert str(np.round(VALUES[9, 0], 1).tolist()) in json.dumps(server.received[0][2])
    assert read_json(run / "parameters.json")["representation"]["scenario"]["describer"] == "endpoint"

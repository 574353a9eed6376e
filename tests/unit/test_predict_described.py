"""From series to predictions of new ones, where questions hold descriptions: by the template, and by an endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chat_server import ChatServer
from tiny_llava import finetune_into, recipe

from build_conversations import build_conversations
from describe_series import describe_series
from predict_series import predict_series
from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.files import read_json, write_json
from vlmtsc.paths import Run
from vlmtsc.settings import KEY_VARIABLE, URL_VARIABLE, EndpointSettings, RequestLimits, ScenarioSettings
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

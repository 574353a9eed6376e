"""Baselines: known answers, what they may look at, and what they leave for the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_llava import make_task

from fit_baseline import fit_baseline
from vlmtsc.baselines import probes
from vlmtsc.baselines.fcn import fit_fcn
from vlmtsc.baselines.probes import fit_logistic, language_features, reduced_features, tower_features
from vlmtsc.baselines.results import ABSENT, BaselineData, all_classes, read_split
from vlmtsc.baselines.series import (
    band_widths,
    dtw_neighbours,
    euclidean_neighbours,
    fit_dtw_1nn,
    fit_majority,
    fit_series_baseline,
    padded,
)
from vlmtsc.data.series import CleanSeries
from vlmtsc.errors import InputError
from vlmtsc.examples import make_questions
from vlmtsc.files import read_json
from vlmtsc.model.checkpoint import load_checkpoint
from vlmtsc.model.files import load_checked_processor
from vlmtsc.model.vision import encode_pixels, load_pixels
from vlmtsc.paths import plot_file_name

RANDOM = np.random.default_rng(0)


def data_of(train: list, labels: list, validation: list, wanted: list, test: list, n_classes: int = 2):
    arrays = [np.array(part, dtype=float)[:, None, :] for part in (train, validation, test)]
    return BaselineData(arrays[0], np.array(labels), arrays[1], np.array(wanted), arrays[2], n_classes)


def waves(n_cases: int, seed: int, n_channels: int = 1, length: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that differ in frequency; phases are random."""
    random = np.random.default_rng(seed)
    labels = np.arange(n_cases) % 2
    time = np.linspace(0, 2 * np.pi, length)
    phases = random.uniform(0, 2 * np.pi, (n_cases, n_channels, 1))
    values = np.sin((1 + 2 * labels[:, None, None]) * time + phases)
    return values + random.normal(0, 0.05, values.shape), labels


def wave_data(n_channels: int = 1) -> BaselineData:
    (train, labels), (validation, wanted) = waves(40, 1, n_channels), waves(12, 2, n_channels)
    return BaselineData(train, labels, validation, wanted, waves(10, 3, n_channels)[0], 2)


def slow_dtw(query: np.ndarray, reference: np.ndarray, width: int) -> float:
    """Dynamic time warping as it is defined, with the whole matrix."""
    length = query.shape[1]
    costs = np.full((length + 1, length + 1), np.inf)
    costs[0, 0] = 0
    for i in range(length):
        for j in range(max(0, i - width), min(length, i + width + 1)):
            step = ((query[:, i] - reference[:, j]) ** 2).sum()
            costs[i + 1, j + 1] = step + min(costs[i, j], costs[i, j + 1], costs[i + 1, j])
    return float(costs[length, length])


def test_majority_of_the_training_part() -> None:
    data = data_of([[0, 0]] * 4, [1, 1, 0, 1], [[0, 0]], [0], [[5, 5]] * 3, n_classes=3)
    result = fit_majority(data)
    assert result.test_scores.argmax(axis=1).tolist() == [1, 1, 1]
    assert np.exp(result.test_scores[0]) == pytest.approx([2 / 7, 4 / 7, 1 / 7])
    assert result.validation_scores.shape == (1, 3)
    assert result.probabilistic


def test_euclidean_neighbour_by_hand_and_the_first_of_two() -> None:
    references = np.array([[[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 0.0]], [[3.0, 3.0]]])
    queries = np.array([[[0.1, 0.0]], [[3.0, 3.6]]])
    assert euclidean_neighbours(queries, references).tolist() == [0, 1]
    result = fit_series_baseline(
        "euclidean_1nn",
        BaselineData(references, np.array([1, 0, 0, 1]), queries, np.array([0, 0]), queries, 2),
    )
    assert result.test_scores.tolist() == [[0, 1], [1, 0]]
    assert not result.probabilistic


@pytest.mark.parametrize("width", [0, 1, 3, 12])
def test_dtw_neighbours_are_those_of_all_distances(width: int) -> None:
    # Rounded values give equal distances: the first reference has to win, whatever the bounds' order.
    references, queries = RANDOM.normal(size=(15, 2, 12)).round(0), RANDOM.normal(size=(70, 2, 12)).round(0)
    references[7] = references[3]
    slow = np.array([[slow_dtw(q, r, width) for r in references] for q in queries[:9]])
    found = dtw_neighbours(queries, references, width)
    assert found[:9].tolist() == slow.argmin(axis=1).tolist()
    if width == 0:
        assert found.tolist() == euclidean_neighbours(queries, references).tolist()


#: A peak one step to the right of class 1's, and a level between the classes.
SHIFTED = data_of(
    train=[[0, 2, 2, 0, 0, 0], [0, 0, 0, 0, 9, 0]],
    labels=[0, 1],
    validation=[[0, 0, 0, 9, 0, 0]],
    wanted=[1],
    test=[[0, 0, 0, 9, 0, 0], [0, 2, 2, 0, 0, 0]],
)


def test_band_is_chosen_on_validation() -> None:
    assert band_widths(6) == [0, 1, 2]
    result = fit_dtw_1nn(SHIFTED)
    assert result.chosen["band_timepoints"] == 1
    assert result.chosen["validation_accuracies"] == {"0": 0.0, "1": 1.0, "2": None}
    assert result.test_scores.argmax(axis=1).tolist() == [1, 0]
    # With another validation label the narrowest band is as good, and the same test series gets another class.
    other = BaselineData(
        SHIFTED.train, SHIFTED.train_labels, SHIFTED.validation, np.array([0]), SHIFTED.test, 2
    )
    narrow = fit_dtw_1nn(other)
    assert narrow.chosen["band_timepoints"] == 0
    assert narrow.test_scores.argmax(axis=1).tolist() == [0, 0]


def test_widths_are_rounded_up_and_distinct() -> None:
    assert band_widths(24) == [0, 1, 2, 3, 5]
    assert band_widths(100) == [0, 1, 3, 5, 10, 20]


def test_fcn_learns_and_says_why_it_stopped() -> None:
    result = fit_fcn(wave_data(2), epochs=12)
    accuracy = (result.validation_scores.argmax(axis=1) == wave_data(2).validation_labels).mean()
    assert accuracy >= 0.9
    assert np.exp(result.test_scores).sum(axis=1) == pytest.approx(1)
    assert result.chosen["stopped_by"] == "epochs"
    limited = fit_fcn(wave_data(), max_steps=1, max_length=10)
    assert limited.chosen == {"epochs": 1, "epochs_done": 1, "stopped_by": "limit", "averaged_over": 3}
    again = fit_fcn(wave_data(), max_steps=1, max_length=10)
    assert np.array_equal(again.test_scores, limited.test_scores)


def test_minirocket_learns_and_short_series_are_padded() -> None:
    data = wave_data()
    result = fit_series_baseline("minirocket", data)
    assert (result.test_scores.argmax(axis=1) == waves(10, 3)[1]).mean() == 1
    assert set(result.test_scores.ravel()) == {0.0, 1.0}
    assert padded(np.ones((2, 1, 8)), 9).tolist() == [[[1] * 8 + [0]]] * 2
    assert np.array_equal(padded(data.train, 9), data.train)


@pytest.mark.parametrize(("name", "shortest"), [("minirocket", 9), ("multirocket_hydra", 10)])
@pytest.mark.parametrize("length", [1, 8, 9, 10])
def test_kernels_take_series_of_any_length(name: str, shortest: int, length: int) -> None:
    series = np.random.default_rng(5).normal(size=(14, 2, length))
    series[::2] += 3
    labels = np.arange(14) % 2
    data = BaselineData(series[:8], labels[:8], series[8:11], labels[8:11], series[11:], 2)
    result = fit_series_baseline(name, data)
    assert result.test_scores.shape == (3, 2)
    assert result.chosen == ({"padded_to": shortest} if length < shortest else {})


def test_logistic_chooses_its_penalty_on_validation() -> None:
    random = np.random.default_rng(4)
    train, labels = random.normal(size=(60, 5)), np.arange(60) % 2
    train[:, 0] += 4 * labels
    data = BaselineData(train, labels, train[:20], labels[:20], train[20:30], 3)
    result = fit_logistic(data)
    accuracies = result.chosen["validation_accuracies"]
    assert accuracies[str(result.chosen["inverse_penalty"])] == max(accuracies.values())
    assert (result.test_scores.argmax(axis=1) == labels[20:30]).mean() >= 0.9
    assert (result.test_scores[:, 2] == ABSENT).all()  # a class without a training case


def test_logistic_with_one_class_in_the_training_set_answers_it() -> None:
    cases = np.random.default_rng(4).normal(size=(9, 5))
    result = fit_logistic(BaselineData(cases, np.ones(9, dtype=int), cases[:3], np.arange(3), cases[:2], 3))
    assert result.test_scores.argmax(axis=1).tolist() == [1, 1]


def test_absent_classes_get_a_finite_score() -> None:
    scores = all_classes(np.array([[-1.0, -np.inf]]), np.array([0, 2]), 3)
    assert scores.tolist() == [[-1.0, ABSENT, ABSENT]]


def test_components_are_fitted_on_training_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "LARGE", 6)
    monkeypatch.setattr(probes, "COMPONENTS", 2)
    monkeypatch.setattr(probes, "BATCH", 4)
    features = RANDOM.normal(size=(30, 8)).astype(np.float32)
    train = np.arange(3, 20)
    reduced = reduced_features(lambda cases: features[cases], train, 30)
    changed = features.copy()
    changed[25:] *= 100
    again = reduced_features(lambda cases: changed[cases], train, 30)
    assert reduced.shape == (30, 2)
    assert np.allclose(reduced[:25], again[:25])
    assert np.allclose(
        reduced[25:] - again[25:], (features[25:] - changed[25:]) @ _axes(features[train]), atol=1e-3
    )
    monkeypatch.setattr(probes, "LARGE", 8)
    assert np.array_equal(reduced_features(lambda cases: features[cases], train, 30), features)


def _axes(features: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA

    return PCA(2, svd_solver="randomized", random_state=0).fit(features).components_.T


def test_one_class_in_training_needs_no_fit() -> None:
    data = data_of([[0, 1], [1, 0]], [1, 1], [[0, 0]], [0], [[1, 1]])
    assert fit_series_baseline("minirocket", data).test_scores.argmax(axis=1).tolist() == [1]


def test_unknown_names_and_empty_parts_are_refused() -> None:
    with pytest.raises(InputError, match="baseline 'knn'; allowed: majority, "):
        fit_series_baseline("knn", wave_data())
    split = {"train": np.array([0]), "validation": np.array([], dtype=int), "test": np.array([1])}
    clean = CleanSeries(np.zeros((2, 1, 3)), np.zeros(2, int), np.array(["a"]), np.array(["0", "1"]), 2)
    with pytest.raises(InputError, match="the validation set has no case"):
        BaselineData.of_split(clean.values, clean, split)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    values, labels = waves(40, 7)
    ids = np.array([f"Waves-{case:05d}" for case in range(40)])
    CleanSeries(values, labels, np.array(["low", "high"]), ids, 20).save(tmp_path / "series.npz")
    order = np.random.default_rng(1).permutation(40)
    np.savez(tmp_path / "split.npz", train=order[:24], validation=order[24:32], test=order[32:])
    return tmp_path


def run_baseline(folder: Path, baseline: str, series: str = "series.npz") -> pd.DataFrame:
    fit_baseline(
        key={"baseline": baseline, "dataset": "Waves", "protocol": "pooled"},
        series=folder / series,
        split=folder / "split.npz",
        output=folder,
    )
    return pd.read_csv(folder / "predictions.csv")


@pytest.mark.parametrize("baseline", ["majority", "euclidean_1nn", "dtw_1nn", "minirocket"])
def test_test_labels_change_no_prediction(dataset: Path, baseline: str) -> None:
    first = run_baseline(dataset, baseline)
    clean = CleanSeries.load(dataset / "series.npz")
    labels = clean.label_index.copy()
    test = read_split(dataset / "split.npz", 40)["test"]
    labels[test] = 1 - labels[test]
    CleanSeries(clean.values, labels, clean.classes, clean.case_ids, 20).save(dataset / "wrong.npz")
    second = run_baseline(dataset, baseline, "wrong.npz")
    assert (first["true"] != second["true"]).all()
    assert first.drop(columns="true").equals(second.drop(columns="true"))


def test_results_have_the_form_of_a_fine_tuned_run(dataset: Path) -> None:
    table = run_baseline(dataset, "euclidean_1nn")
    assert list(table) == ["id", "true", "predicted", "score_low", "score_high"]
    assert table["id"].str.fullmatch(r"Waves-\d{5}").all()
    metrics, record = (read_json(dataset / f"{name}.json") for name in ("metrics", "record"))
    assert metrics["accuracy"] == pytest.approx((table["true"] == table["predicted"]).mean())
    assert (metrics["log_loss"], metrics["probabilistic"]) == (None, False)
    assert record["validation_accuracy"] >= 0.5
    assert record["versions"]["numba"]
    run_baseline(dataset, "majority")
    assert read_json(dataset / "metrics.json")["log_loss"] > 0


def test_a_split_of_other_cases_is_refused(dataset: Path) -> None:
    with pytest.raises(InputError, match=r"split\.npz: sets that overlap or exceed the dataset's 10 cases"):
        read_split(dataset / "split.npz", 10)


def test_language_features_are_the_last_state_of_each_question(
    llama_checkpoint: Path, tmp_path: Path
) -> None:
    task = make_task(llama_checkpoint, tmp_path / "plots", modality="numbers", n_train=5)
    records = [record for part in task.records.values() for record in part]
    ids = sorted(record["id"] for record in records)
    features = language_features(llama_checkpoint, records, task.representation, ids, "fp32")
    model = load_checkpoint(llama_checkpoint, precision="fp32", attention="auto", context_length=512)
    tokenizer = load_checked_processor(llama_checkpoint).tokenizer
    for record in records[:3]:
        [question] = make_questions([record], task.representation, tokenizer)
        with torch.inference_mode():
            alone = model.model.language_model(input_ids=torch.tensor([question.prompt])).last_hidden_state
        assert np.allclose(features[ids.index(record["id"])], alone[0, -1].numpy(), atol=1e-4)
    with pytest.raises(InputError, match="case absent: without a conversation"):
        language_features(llama_checkpoint, records, task.representation, [*ids, "absent"], "fp32")
    with pytest.raises(InputError, match="of no case of the dataset"):
        language_features(llama_checkpoint, records, task.representation, ids[1:], "fp32")


def test_tower_features_are_all_image_tokens_of_each_plot(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plots = tmp_path / "plots"
    task = make_task(tiny_checkpoint, plots, n_train=5)
    n_cases = len(list(plots.glob("*.png")))
    features = tower_features(tiny_checkpoint, plots, np.arange(2, 7), n_cases, "fp32")
    model = load_checkpoint(tiny_checkpoint, precision="fp32", attention="auto", context_length=0)
    pixels = load_pixels([plots / plot_file_name(3)], load_checked_processor(tiny_checkpoint))
    with torch.inference_mode():
        alone = encode_pixels(model, pixels).flatten().numpy()
    assert features.shape == (n_cases, alone.size)
    assert np.allclose(features[3], alone, atol=1e-4)
    with pytest.raises(InputError, match="shows a plot; allowed here: one of numbers alone"):
        language_features(tiny_checkpoint, [], task.representation, [], "fp32")

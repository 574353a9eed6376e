"""The classifier: aeon's checks, scikit-learn's functions, files, and predictions equal to those of a finished run."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from aeon.benchmarking.resampling import stratified_resample_data
from aeon.testing.estimator_checking import check_estimator
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tiny_llava import recipe

from vlmtsc import VLMClassifier
from vlmtsc.demo import find_runs
from vlmtsc.errors import InputError
from vlmtsc.settings import ScenarioSettings

NUMBERS = ScenarioSettings(name="mine", modality="numbers", numbers="scaled", plot="none", context_length=512)
BOTH = ScenarioSettings(name="mine", modality="both", numbers="scaled", plot="line", context_length=512)


def waves(n_cases: int = 16, n_timepoints: int = 12) -> tuple[np.ndarray, np.ndarray]:
    label = np.arange(n_cases) % 2
    time = np.linspace(0, 1, n_timepoints)
    noise = 0.2 * np.random.default_rng(0).standard_normal((n_cases, n_timepoints))
    return (np.sin(2 * np.pi * np.outer(label + 1, time)) + noise)[:, None], label


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> Callable[..., VLMClassifier]:
    def make(scenario: ScenarioSettings = NUMBERS, **changes: object) -> VLMClassifier:
        settings = recipe(epochs=1).model_dump(exclude={"seed"})
        return VLMClassifier(scenario, str(tiny_checkpoint), settings | changes)

    return make


@pytest.fixture(scope="module")
def fitted(tiny: Callable[..., VLMClassifier], tiny_checkpoint: Path) -> VLMClassifier:
    classifier = tiny(BOTH, epochs=np.int64(1)).set_params(model=tiny_checkpoint, seed=np.int64(0))
    return classifier.fit(*waves())


def test_it_passes_the_checks_of_aeon(tiny: Callable[..., VLMClassifier]) -> None:
    """Without those for what it does not claim: a time limit, estimates on the train set, `n_jobs`, Keras."""
    outcomes = check_estimator(tiny())
    assert {name: outcome for name, outcome in outcomes.items() if outcome != "PASSED"} == {}
    names = " ".join(name for name in outcomes if name.startswith("check_classifier_output"))
    assert all(
        kind in names for kind in ("UnequalLengthMultivariate", "EqualLengthUnivariate", "MissingValues")
    )


def test_scikit_learn_and_benchmarks_can_use_it(tiny: Callable[..., VLMClassifier]) -> None:
    X, y = waves()
    scaled = make_pipeline(FunctionTransformer(lambda values: 2 * values), tiny())
    fold = cross_val_score(scaled, X, y, cv=2)
    first = tiny().fit(2 * X[8:], y[8:]).score(2 * X[:8], y[:8])
    assert fold[0] == first
    train, y_train, test, y_test = stratified_resample_data(X[:8], y[:8], X[8:], y[8:], random_state=1)
    assert 0 <= tiny().fit(train, y_train).score(test, y_test, metric="balanced_accuracy") <= 1


def test_labels_are_those_of_y_in_their_order(tiny: Callable[..., VLMClassifier]) -> None:
    X, y = waves()
    labels = np.array(["10", "9"])[y]  # as text sorted otherwise than as numbers
    classifier = tiny().fit(X, labels)
    assert classifier.classes_.tolist() == ["10", "9"]
    assert classifier.parameters_["representation"]["classes"] == ("9", "10")
    renamed = tiny().fit(X, np.array([10, 9])[y])
    assert renamed.predict(X).tolist() == [int(label) for label in classifier.predict(X)]
    with pytest.raises(InputError, match="labels"):
        tiny().fit(X, np.array(["1", "1.0", "2"])[np.arange(len(y)) % 3])


def test_files_and_pickles_give_the_same_probabilities(fitted: VLMClassifier, tmp_path: Path) -> None:
    X, _ = waves()
    expected = fitted.predict_proba(X)
    fitted.save(tmp_path / "saved")
    with pytest.raises(InputError, match="saved: exists; allowed: a new folder"):
        fitted.save(tmp_path / "saved")
    loaded = VLMClassifier.load(tmp_path / "saved")
    for given in (X, X[:, 0], pd.DataFrame(X[:, 0])):
        np.testing.assert_array_equal(loaded.predict_proba(given), expected)
        np.testing.assert_array_equal(fitted.prepare(given)[0], X)
    assert loaded.get_params() == fitted.get_params() | {"model": str(fitted.model)}
    assert loaded.classes_.dtype == fitted.classes_.dtype
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), expected)


def test_a_folder_without_a_classifier_is_refused(fitted: VLMClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "saved")
    for name in ("adapter", "classifier.json"):
        (tmp_path / "saved" / name).rename(tmp_path / name)
        with pytest.raises(InputError, match=f"saved: no {name}; allowed: a saved classifier"):
            VLMClassifier.load(tmp_path / "saved")


def test_what_is_no_series_of_the_model_is_refused(fitted: VLMClassifier) -> None:
    with pytest.raises(InputError, match="X: no cases; allowed: one or more"):
        fitted.score_series([])
    with pytest.raises(ValueError, match="number of channels"):
        fitted.explain(np.zeros((1, 2, 12)))


def test_series_of_other_lengths_follow_the_policies(fitted: VLMClassifier) -> None:
    X, _ = waves()
    short = fitted.predict_proba([X[0], X[1][:, :7]])
    assert short[0] == pytest.approx(fitted.predict_proba(X[:1])[0], abs=1e-5)
    fitted_strictly = fitted.clone().set_params(preprocess={"unequal_length": "refuse"}).fit(*waves())
    with pytest.raises(InputError, match=r"X\[1\]: 7 timepoints, unequal_length=refuse"):
        fitted_strictly.predict([X[0], X[1][:, :7]])


@pytest.mark.parametrize(
    "missing",
    [
        {},
        {0: [slice(7, None)]},
        {0: [slice(7, None)], 1: [slice(11, None)], 2: [slice(0, 3), 5, slice(9, None)]},
        {case: [slice(10, None)] for case in range(16)},
        {0: [5], 1: [slice(0, 2), slice(4, 7)]},
    ],
    ids=["none", "end of one", "ends of several", "end of all", "inside"],
)
@pytest.mark.parametrize("listed", [False, True])
def test_fit_and_predict_prepare_series_alike(
    tiny: Callable[..., VLMClassifier],
    monkeypatch: pytest.MonkeyPatch,
    missing: dict[int, list[int | slice]],
    listed: bool,
) -> None:
    X, y = waves()
    for case, gaps in missing.items():
        for gap in gaps:
            X[case, :, gap] = np.nan
    series = [*X[:-1], X[-1][:, :9]] if listed else X
    fitted: list[np.ndarray] = []
    monkeypatch.setattr(VLMClassifier, "_train", lambda _, folder, clean, *more: fitted.append(clean.values))
    monkeypatch.setattr(VLMClassifier, "_load", lambda _: None)
    classifier = tiny().fit(series, y)
    np.testing.assert_array_equal(classifier.prepare(series)[0], fitted[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario": "plt"}, "unknown scenario 'plt'; did you mean 'plot'?"),
        ({"model": "embeded"}, "unknown model 'embeded'; did you mean 'embedded'?.*or a checkpoint folder"),
        ({"scenario": "as_published_WITH_RATIONALE"}, "rationales that name the class"),
        ({"scenario": BOTH.untuned("few", 1)}, "few: its questions show plots of training cases"),
        ({"recipe": {"epoch": 3}}, "unknown key 'epoch'"),
        ({"recipe": {"seed": 3}}, "recipe: found seed 3; allowed: the seed of the parameter, 0"),
        ({"validation_share": 1.5}, "validation_share: found 1.5; allowed: less than 1"),
    ],
)
def test_bad_parameters_are_refused(
    tiny: Callable[..., VLMClassifier], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tiny().set_params(**changes).fit(*waves())


def test_the_library_does_not_import_it_by_itself() -> None:
    code = "import sys, vlmtsc, vlmtsc.configuration; assert not {'aeon', 'torch'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "workflow_scripts"})


def test_the_demo_finds_equal_runs_of_several_folders(tmp_path: Path) -> None:
    def finished(folder: str) -> Path:
        run = tmp_path / folder / "runs/embedded/GunPoint/pooled/plot/seed-0"
        (run / "adapter").mkdir(parents=True)
        (run / "metrics.json").write_text("{}")
        return run

    first = finished("a")
    assert find_runs(tmp_path) == {"embedded/GunPoint/pooled/plot/seed-0": first}
    second = finished("b")
    assert find_runs(tmp_path) == {str(first): first, str(second): second}

"""A page of the test cases that models have most confidently wrong: plot, prompt, scores. It needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from vlmtsc.errors import InputError
from vlmtsc.evaluation.metrics import read_predictions
from vlmtsc.files import read_json
from vlmtsc.paths import Paths, Run
from vlmtsc.planning import CaseScenario, scenario_titles
from vlmtsc.reporting.gallery import read_plot
from vlmtsc.reporting.tables import NONE, PAGES
from vlmtsc.representation.plot_files import plots_in
from vlmtsc.representation.representation import Representation

#: Most cases of a scenario, scenarios whose cases are shown, classes of a case.
CASES, MAX_SCENARIOS, MAX_CLASSES = 3, 12, 6

PAGE = """\
{% extends "frame.html" %}
{% from "tables.html" import table %}
{% block looks %}
body { max-width: none; }
table { white-space: normal; }
.case { display: flex; flex-wrap: wrap; gap: .6rem 1.4rem; padding: 1rem 0; border-bottom: 1px solid #ddd; }
.case > div { flex: 1 1 24rem; min-width: 0; }
.case img { border: 1px solid #bbb; max-width: 100%; align-self: flex-start; }
.scores td { padding: .1rem .7rem; border: 0; }
.scores td.bar { width: 9rem; min-width: 3.5rem; padding: 0; }
.bar { background: linear-gradient(#f0f0f0, #f0f0f0) center / 100% .8rem no-repeat; }
.bar span { display: block; height: .8rem; background: #b8b8b8; border-right: 1px solid #777; }
.true .bar span { background: #56b4e9; }
.predicted .bar span { background: #d55e00; }
.true, .predicted { font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 18rem; overflow-y: auto; resize: vertical; }
@media (max-width: 40rem) {
  body { font-size: 13px; padding: 0 .8rem; }
  th, td, .scores td { padding: .2rem .3rem; }
  .case > div { flex-basis: 100%; }
}
{% endblock %}
{% block content %}
<p>{{ note }}</p>
{{ table(overview, ("scenario",)) }}
{% if not any_wrong %}
<p><strong>No wrong case: every test case is right in every run.</strong></p>
{% endif %}
{% if n_left %}
<p>The cases of the first {{ shown | length }} of {{ n_scenarios }} scenarios are shown.</p>
{% endif %}
{% for section in shown if any_wrong %}
<h2>{{ section.title }}</h2>
{% if not section.wrong %}
<p>No wrong case: all {{ section.n_cases }} test cases are right
{{- " in every run" if section.seeds | length > 1 else "" }}.</p>
{% endif %}
{% for shown in section.shown %}
{% set case = shown.case %}
{% set indices, n_left, share = classes_to_show(case.probabilities, [case.true, case.predicted]) %}
<section class="case">
{% if shown.plot %}
<img src="data:image/png;base64,{{ base64(shown.plot) }}" alt="plot of {{ case.id }}">
{% endif %}
<div>
<h3>{{ case.id }}: class {{ section.classes[case.true] }}, predicted as class {{ section.classes[case.predicted] }}
({{ percent(case.confidence) }})</h3>
<div class="scroll"><table class="scores">
<tr><th class="text">class</th><th class="text">answer</th><th class="text" colspan="2">probability</th>
<th>log-likelihood</th></tr>
{% for index in indices %}
{% set kind = "true" if index == case.true else "predicted" if index == case.predicted else "" %}
<tr class="{{ kind }}"><td class="text">{{ section.classes[index] }}{{ " (" ~ kind ~ ")" if kind }}</td>
<td class="text"><code>{{ section.answers[index] }}</code></td>
<td class="bar"><span style="width: {{ "%.1f" | format(100 * case.probabilities[index]) }}%"></span></td>
<td>{{ percent(case.probabilities[index]) }}</td>
<td>{{ score(case.scores[index]) }}</td></tr>
{% endfor %}
</table></div>
{% if n_left %}
<p>{{ n_left }} more classes have {{ percent(share) }} in all.</p>
{% endif %}
{% if section.seeds | length > 1 %}
<p>As in seed {{ case.seed }}. Wrong in {{ case.wrong_seeds | length }} of {{ section.seeds | length }} seeds:
{{ case.wrong_seeds | join(", ") }}.</p>
{% endif %}
<pre>{{ shown.prompt }}</pre>
</div>
</section>
{% endfor %}
{% endfor %}
{% endblock %}
"""


@dataclass(frozen=True)
class WrongCase:
    """A test case with a wrong prediction, as in the run (`seed`) with the highest probability of a wrong class.

    `true` and `predicted` are class indices; `scores` (log-likelihoods of the classes' answers) and `probabilities`
    (their softmax) have the shape (n_classes,); `wrong_seeds` are all runs with a wrong prediction of the case.
    """

    id: str
    seed: int
    true: int
    predicted: int
    scores: np.ndarray
    probabilities: np.ndarray
    wrong_seeds: tuple[int, ...]

    @property
    def confidence(self) -> float:
        """Probability of the predicted class."""
        return float(self.probabilities[self.predicted])


@dataclass(frozen=True)
class ShownCase:
    """A wrong case with the text before the answer and the PNG file of its plot, empty if the scenario shows none."""

    case: WrongCase
    prompt: str
    plot: bytes = b""


@dataclass(frozen=True)
class ScenarioCases:
    """The wrong cases of one scenario, the most confident first, and those of them that the page shows.

    `title` names the scenario, and the model if there are several; `classes` and `answers` are the archive's label
    and the model's answer of each class, by its index; `n_cases` counts the test set.
    """

    title: str
    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    answers: tuple[str, ...]
    n_cases: int
    wrong: Sequence[WrongCase]
    shown: Sequence[ShownCase]


def wrong_cases(
    paths: Paths, dataset: str, protocol: str, scenarios: Sequence[CaseScenario]
) -> list[ScenarioCases]:
    """Read the predictions of all runs on a dataset, and collect their wrong cases by scenario.

    InputError if predictions are of other cases or classes than the test set's, or a plot is missing.
    """
    sections: list[ScenarioCases] = []
    for scenario, title in zip(scenarios, scenario_titles(scenarios), strict=True):
        runs = [Run(scenario.model, dataset, protocol, scenario.scenario, seed) for seed in scenario.seeds]
        folder = Path(paths.conversations(runs[0]))
        representation = Representation.load(folder / "representation.json")
        predictions = {run.seed: read_run(Path(paths.run(run)), representation) for run in runs}
        wrong = confidence_order(predictions)
        shown = wrong[:CASES] if len(sections) < MAX_SCENARIOS else []
        sections.append(
            ScenarioCases(
                title=title,
                seeds=scenario.seeds,
                classes=representation.classes,
                answers=representation.label_texts,
                n_cases=len(predictions[scenario.seeds[0]][0]),
                wrong=wrong,
                shown=list(show_cases(shown, folder / "test.json", representation, scenario.plots)),
            )
        )
    return sections


def read_run(folder: Path, representation: Representation) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return `read_predictions` of a run; InputError if the classes are not those of the scenario."""
    ids, label_index, scores = read_predictions(folder / "predictions.csv")
    if scores.shape[1] != len(representation.classes):
        raise InputError(
            f"{folder / 'predictions.csv'}: {scores.shape[1]} classes; allowed: the scenario's "
            f"{len(representation.classes)}"
        )
    return ids, label_index, scores


def show_cases(
    cases: Sequence[WrongCase], test: Path, representation: Representation, plots: str
) -> Iterator[ShownCase]:
    """Yield cases with prompt and plot; InputError if a case is not in the test set, or a plot is missing."""
    records = {record["id"]: record for record in read_json(test)} if cases else {}
    folder = plots_in(Path(plots)) if representation.has_image else None
    for case in cases:
        if case.id not in records:
            raise InputError(f"{test}: without the case {case.id}, which has a prediction")
        record = records[case.id]
        plot = b"" if folder is None else read_plot(folder, record["image"])[0]
        yield ShownCase(case, representation.record_text(record, with_answer=False), plot)


def confidence_order(
    predictions: Mapping[int, tuple[Sequence[str], np.ndarray, np.ndarray]],
) -> list[WrongCase]:
    """Return the cases with a wrong prediction, each once, the highest probability of the predicted class first.

    Cases of equal probability stay in the order of the test set; of equal runs the first counts. The odds against the
    predicted class are compared: they still differ where probabilities are rounded to 1. `predictions` has the
    results of `read_predictions` by seed; InputError if they are of other cases.
    """
    [(first, (ids, label_index, _)), *_] = predictions.items()
    found: dict[int, list[tuple[float, int]]] = {}
    for seed, (of_seed, _, scores) in predictions.items():
        if list(of_seed) != list(ids):
            raise InputError(
                f"seeds {first} and {seed} have predicted other cases; allowed: the same test set"
            )
        odds = odds_against_best(scores)
        for row in np.flatnonzero(scores.argmax(axis=1) != label_index).tolist():
            found.setdefault(row, []).append((float(odds[row]), seed))
    cases = []
    for row, entries in found.items():
        against, seed = min(entries, key=lambda entry: entry[0])
        scores = predictions[seed][2][row]
        seeds = tuple(seed for _, seed in entries)
        classes = int(label_index[row]), int(scores.argmax())
        cases.append((against, row, WrongCase(ids[row], seed, *classes, scores, softmax(scores), seeds)))
    return [case for _, _, case in sorted(cases, key=lambda entry: entry[:2])]


def odds_against_best(scores: np.ndarray) -> np.ndarray:
    """Return the odds against the class with the highest score, under the softmax of each row of scores."""
    relative = np.exp(scores - scores.max(axis=1, keepdims=True))
    relative[np.arange(len(scores)), scores.argmax(axis=1)] = 0.0
    total: np.ndarray = relative.sum(axis=1)
    return total


def classes_to_show(
    probabilities: np.ndarray, always: Sequence[int], limit: int = MAX_CLASSES
) -> tuple[list[int], int, float]:
    """Return the likeliest class indices, the number of classes left out, and the sum of their probabilities.

    At most `limit` classes are shown, `always` those in the second argument; a single one beyond the limit is shown
    too.
    """
    order = np.argsort(-probabilities, kind="stable").tolist()
    if len(order) <= limit + 1:
        return order, 0, 0.0
    others = [index for index in order if index not in always]
    left = others[limit - len({*always}) :]
    return [index for index in order if index not in left], len(left), float(probabilities[left].sum())


def as_percent(share: float) -> str:
    """Return a probability in percent; one that is not 0 or 1 is not rounded to it."""
    if 0.9995 <= share < 1:
        return ">99.9%"
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{100 * share:.1f}%"


def wrong_cases_page(dataset: str, protocol: str, scenarios: Sequence[ScenarioCases]) -> str:
    """Return the HTML page of one dataset."""
    overview = [
        {
            "scenario": scenario.title,
            "seeds": ", ".join(map(str, scenario.seeds)),
            "test cases": scenario.n_cases,
            "wrong": len(scenario.wrong),
            "highest wrong probability": as_percent(scenario.wrong[0].confidence) if scenario.wrong else NONE,
        }
        for scenario in scenarios
    ]
    return PAGES.from_string(PAGE).render(
        title=f"{dataset}: the cases most confidently wrong",
        note=(
            f"Test set, protocol {protocol}. Of each scenario the {CASES} test cases whose wrong class has the "
            "highest probability: the softmax of the log-likelihoods of the classes' answers. With several seeds, a "
            "case counts as wrong if any run predicts a wrong class, and is shown as in the run with the highest "
            "probability of a wrong class. Plots and prompts are those that the model was shown."
        ),
        overview=pd.DataFrame(overview),
        n_scenarios=len(scenarios),
        shown=scenarios[:MAX_SCENARIOS],
        n_left=len(scenarios[MAX_SCENARIOS:]),
        any_wrong=any(scenario.wrong for scenario in scenarios),
        classes_to_show=classes_to_show,
        percent=as_percent,
        score=lambda score: f"{score:.2f}".replace("-", "\N{MINUS SIGN}"),
        base64=lambda content: base64.b64encode(content).decode("ascii"),
    )

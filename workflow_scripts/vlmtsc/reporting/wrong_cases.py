"""A page of the cases that models have most confidently wrong: plot, prompt, scores. It needs no other file.

A page and not a figure, since prompts are long: a reader unfolds one, selects and searches in it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from vlmtsc.reporting.cases import WrongCase, classes_to_show, shortened
from vlmtsc.reporting.pages import PAGES

#: Cases of each scenario, scenarios whose cases are shown (the first ones), classes of a case: at most.
CASES, MAX_SCENARIOS, MAX_CLASSES = 3, 12, 6
#: Characters of a prompt that are shown before it is unfolded.
PROMPT_SHOWN = 600

PAGE = PAGES.from_string("""\
{% extends "frame.html" %}
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
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
pre em { color: #a33c00; }
summary { cursor: pointer; }
@media (max-width: 40rem) {
  body { font-size: 13px; padding: 0 .8rem; }
  th, td, .scores td { padding: .2rem .3rem; }
  .case > div { flex-basis: 100%; }
}
{% endblock %}
{% block content %}
<p>{{ note }}</p>
<div class="scroll"><table>
<thead><tr>
<th class="text">scenario</th><th>seeds</th><th>test cases</th><th>wrong</th><th>surest of a wrong class</th>
</tr></thead>
<tbody>
{% for section in sections %}
<tr><td class="text">{{ section.title }}</td><td>{{ section.seeds | join(", ") }}</td><td>{{ section.n_cases }}</td>
<td>{{ section.wrong | length }}</td><td>{{ section.surest }}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% if not any_wrong %}
<p><strong>No wrong case: every test case is right in every run.</strong></p>
{% endif %}
{% if n_left %}
<p>The cases of the first {{ shown | length }} of {{ sections | length }} scenarios are shown.</p>
{% endif %}
{% for section in shown if any_wrong %}
<h2>{{ section.title }}</h2>
{% if not section.wrong %}
<p>No wrong case: all {{ section.n_cases }} test cases are right
{{- " in every run" if section.seeds | length > 1 else "" }}.</p>
{% endif %}
{% for card in section.cards %}
<section class="case">
{% if card.image %}
<img src="data:image/png;base64,{{ card.image }}" width="{{ card.size[0] }}" height="{{ card.size[1] }}"
alt="plot of {{ card.id }}">
{% endif %}
<div>
<h3>{{ card.id }}: class {{ card.true }}, taken for class {{ card.predicted }} ({{ card.confidence }})</h3>
<div class="scroll"><table class="scores">
<tr><th class="text">class</th><th class="text">answer</th><th class="text" colspan="2">probability</th>
<th>log-likelihood</th></tr>
{% for bar in card.bars %}
<tr class="{{ bar.kind }}"><td class="text">{{ bar.name }}{{ " (" ~ bar.kind ~ ")" if bar.kind }}</td>
<td class="text"><code>{{ bar.answer }}</code></td>
<td class="bar"><span style="width: {{ bar.percent }}%"></span></td><td>{{ bar.probability }}</td>
<td>{{ bar.score }}</td></tr>
{% endfor %}
</table></div>
{% if card.left %}
<p>{{ card.left }}</p>
{% endif %}
{% if card.seeds %}
<p>{{ card.seeds }}</p>
{% endif %}
{% if card.n_left %}
<pre>{{ card.head }}<em> [... {{ card.n_left }} characters ...] </em>{{ card.tail }}</pre>
<details><summary>The whole prompt</summary><pre>{{ card.prompt }}</pre></details>
{% else %}
<pre>{{ card.prompt }}</pre>
{% endif %}
</div>
</section>
{% endfor %}
{% endfor %}
{% endblock %}
""")


@dataclass(frozen=True)
class ShownCase:
    """A wrong case and what the model was given.

    Attributes
    ----------
    case : WrongCase
    prompt : str
        The text before the answer.
    plot : bytes or None
        The PNG file as it is on the disk; None where the scenario shows no plot.
    size : tuple of int
        Its width and height in pixels.
    """

    case: WrongCase
    prompt: str
    plot: bytes | None = None
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class ScenarioCases:
    """What a model has wrong in one scenario.

    Attributes
    ----------
    title : str
        Scenario, and model if there are several.
    seeds : tuple of int
    classes, answers : tuple of str
        The archive's label and the model's answer of each class, by its index.
    n_cases : int
        Cases of the test part.
    wrong : tuple of WrongCase
        Those that some run has wrong, the surest first.
    shown : tuple of ShownCase
        What is shown of them.
    """

    title: str
    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    answers: tuple[str, ...]
    n_cases: int
    wrong: tuple[WrongCase, ...]
    shown: tuple[ShownCase, ...]

    @property
    def surest(self) -> str:
        """The highest probability of a wrong class."""
        return confidence(self.wrong[0]) if self.wrong else "-"

    @property
    def cards(self) -> list[Card]:
        """What the page shows of the cases."""
        return [make_card(self, shown) for shown in self.shown]


@dataclass(frozen=True)
class Bar:
    """A line of a case's table: one class."""

    name: str
    answer: str
    kind: str
    percent: str
    probability: str
    score: str


@dataclass(frozen=True)
class Card:
    """What the page shows of one case, as text."""

    id: str
    image: str
    size: tuple[int, int]
    true: str
    predicted: str
    confidence: str
    bars: list[Bar] = field(repr=False)
    left: str
    seeds: str
    head: str
    n_left: int
    tail: str
    prompt: str


def wrong_cases_page(dataset: str, protocol: str, scenarios: Sequence[ScenarioCases]) -> str:
    """Write the page of one dataset.

    Parameters
    ----------
    dataset, protocol : str
    scenarios : sequence of ScenarioCases
        All are in the table; the cases of the first `MAX_SCENARIOS` are shown.
    """
    return PAGE.render(
        title=f"{dataset}: the cases most confidently wrong",
        note=(
            f"Test part, protocol {protocol}. Of each scenario the {CASES} test cases whose wrong class has the "
            "highest probability: the softmax of the log-likelihoods of the classes' answers. With several seeds, a "
            "case counts as wrong if some run has it wrong, and is shown as in the run that is surest of a wrong "
            "class. Plots and prompts are those that the model was given."
        ),
        sections=scenarios,
        shown=scenarios[:MAX_SCENARIOS],
        n_left=len(scenarios[MAX_SCENARIOS:]),
        any_wrong=any(scenario.wrong for scenario in scenarios),
    )


def make_card(scenario: ScenarioCases, shown: ShownCase) -> Card:
    """Put what is known about a case into words."""
    case = shown.case
    indices, n_left, share = classes_to_show(case.probabilities, [case.true, case.predicted], MAX_CLASSES)
    kinds = {case.true: "true", case.predicted: "predicted"}
    bars = [
        Bar(
            name=scenario.classes[index],
            answer=scenario.answers[index],
            kind=kinds.get(index, ""),
            percent=f"{100 * case.probabilities[index]:.1f}",
            probability=as_percent(float(case.probabilities[index])),
            score=f"{case.scores[index]:.2f}".replace("-", "\N{MINUS SIGN}"),
        )
        for index in indices
    ]
    seeds = ""
    if len(scenario.seeds) > 1:
        wrong = ", ".join(map(str, case.wrong_seeds))
        seeds = f"As in seed {case.seed}. Wrong in {len(case.wrong_seeds)} of {len(scenario.seeds)} seeds: {wrong}."
    head, cut, tail = shortened(shown.prompt, PROMPT_SHOWN)
    return Card(
        id=case.id,
        image="" if shown.plot is None else base64.b64encode(shown.plot).decode("ascii"),
        size=shown.size,
        true=scenario.classes[case.true],
        predicted=scenario.classes[case.predicted],
        confidence=confidence(case),
        bars=bars,
        left=f"{n_left} more classes have {as_percent(share)} in all." if n_left else "",
        seeds=seeds,
        head=head,
        n_left=cut,
        tail=tail,
        prompt=shown.prompt,
    )


def confidence(case: WrongCase) -> str:
    """Write the probability of the predicted class."""
    return as_percent(float(case.probabilities[case.predicted]))


def as_percent(share: float) -> str:
    """Write a probability in percent; one that is not 0 or 1 is not rounded to it."""
    if 0.9995 <= share < 1:
        return ">99.9%"
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{100 * share:.1f}%"

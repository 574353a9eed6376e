"""The methods of finished runs as text for a paper: Markdown for pandoc, an HTML page, and the cited BibTeX entries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from markdown import Markdown
from markupsafe import Markup

from vlmtsc.baselines.series import WINDOWS
from vlmtsc.data import splits
from vlmtsc.errors import InputError
from vlmtsc.evaluation.constants import (
    ALPHA,
    DATASETS_NEEDED,
    FEW_CHANGES,
    IMAGE_CONTROLS,
    METHODS_NEEDED,
    NUMBER_CONTROLS,
)
from vlmtsc.evaluation.metrics import BINS, TEMPERATURES
from vlmtsc.evaluation.statistics import RESAMPLES
from vlmtsc.reporting.provenance import describe_machine, duration
from vlmtsc.reporting.tables import PAGES, counted, short_count
from vlmtsc.settings import AGREED_WEIGHT, NOISE, PLATEAU, SHORTEST, UNTUNED, Recipe, ScenarioSettings

TEMPLATE = Path(__file__).with_name("methods.md.jinja")
#: A citation: ``[@key]`` or ``[@first; @second]``, as in pandoc's Markdown.
CITATION = re.compile(r"\[(@[\w-]+(?:; ?@[\w-]+)*)\]")


class Reference(NamedTuple):
    """An entry of a bibliography: its BibTeX text and its fields."""

    entry: str
    fields: Mapping[str, str]


def write_methods(provenance: Mapping[str, Any], references: Mapping[str, Reference]) -> dict[str, str]:
    """Write the methods of the runs in a provenance; InputError if a citation has no entry."""
    datasets = {part["dataset"]: dict(part) for part in provenance["datasets"]}
    references = dict(references)
    for name, dataset in datasets.items():
        keys = cite_dataset(name, dataset["citation"], references)
        dataset["citation"] = f"[{'; '.join(f'@{key}' for key in keys)}]" if keys else ""
    text = _render(_context(provenance, datasets))
    keys = cited_keys(text)
    if missing := [key for key in keys if key not in references]:
        raise InputError(f"citations without an entry in references.bib: {', '.join(missing)}")
    cited = {key: references[key] for key in keys}
    return {
        "methods.md": text,
        "methods.html": _to_html(text, cited),
        "references.bib": "\n".join(reference.entry for reference in cited.values()),
    }


def _context(provenance: Mapping[str, Any], datasets: Mapping[str, Any]) -> dict[str, Any]:
    """Variables of the template."""
    runs, parts, environments = (provenance[name] for name in ("runs", "datasets", "environments"))
    scenarios: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, row in part["scenarios"].items():
            settings = ScenarioSettings(**row["scenario"])
            scenarios.setdefault(name, {})[part["dataset"]] = row | {"settings": settings}
    shown = [row["settings"] for rows in scenarios.values() for row in rows.values()]
    modalities = {scenario.modality for scenario in shown}
    has_image = any(scenario.has_image for scenario in shown)
    image_controls = IMAGE_CONTROLS if modalities - {"numbers"} else ()
    number_controls = NUMBER_CONTROLS if modalities - {"plot"} else ()
    baselines = [record for part in parts for record in part["baselines"]]
    names = _distinct(record["baseline"] for record in baselines)
    aligned = [recipe for recipe in provenance["recipes"] if has_image and recipe["align_steps"]]
    alone = [recipe for recipe in aligned if Recipe(**recipe).has_own_first_stage]
    n_methods = len({(run["model"], run["scenario"]) for run in runs}) + len(names) + bool(alone)
    test, rest = splits.POOLED_TEST_SHARE, 1 - splits.POOLED_TEST_SHARE
    validation = rest * splits.POOLED_VALIDATION_SHARE
    return {
        **provenance,
        "datasets": list(datasets.values()),
        "split": parts[0]["split"]["settings"],
        "shares": (rest - validation, validation, test),
        "split_seeds": splits.POOLED_SEEDS.get(parts[0]["split"]["settings"]["protocol"]),
        "official_validation_seed": splits.OFFICIAL_VALIDATION_SEED,
        "scenarios": scenarios,
        "models": {name: _model(name, provenance) for name in provenance["models"]},
        "evaluate": provenance["configuration"]["options"]["evaluate"],
        **{"bins": BINS, "temperatures": TEMPERATURES, "resamples": RESAMPLES, "level": 1 - ALPHA},
        **{"control_level": ALPHA, "few_changes": FEW_CHANGES, "dtw_windows": WINDOWS},
        "controls": (*image_controls, *number_controls),
        "baselines": names,
        "baseline_seeds": sorted({record["seed"] for record in baselines}),
        "several_seeds": len({run["seed"] for run in runs}) > 1,
        "rationales": any(scenario.has_rationale_target for scenario in shown),
        # Recipes with a first stage.
        "aligned": aligned,
        "alone": alone,
        **{"agreed_weight": AGREED_WEIGHT, "plateau": PLATEAU, "shortest": SHORTEST, "noise": NOISE},
        "n_methods": n_methods,
        "ranked": len(datasets) >= DATASETS_NEEDED and n_methods >= METHODS_NEEDED,
        "versions": [each["versions"] for each in environments],
        "machines": _distinct(describe_machine(each["hardware"]) for each in environments),
        "revisions": _distinct(f"`{run['git_revision']}`" for run in runs),
        "trainings": [run for run in runs if not run["shared_with"] and run["stopped_by"] != UNTUNED],
        "short_count": short_count,
    }


def _model(name: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a model and its fine-tunings; those without training have no recipe."""
    tuned = [run for run in provenance["runs"] if run["model"] == name and run["stopped_by"] != UNTUNED]
    return {
        "source": provenance["configuration"]["models"][name]["source"],
        "architecture": provenance["models"][name]["architecture"],
        "recipes": [provenance["recipes"][number - 1] for number in sorted({run["recipe"] for run in tuned})],
        "seeds": sorted({run["seed"] for run in tuned}),
        "processes": sorted({run["processes"] or 1 for run in tuned}),
        "total": [run["total_parameters"] for run in tuned],
        "trainable": [run["trainable_parameters"] for run in tuned],
    }


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _render(context: Mapping[str, Any]) -> str:
    """Fill the template, and write each paragraph on one line, each table row on its own."""
    source = TEMPLATE.read_text(encoding="utf-8")
    marked = ENVIRONMENT.from_string(source.replace("\n\n", "\n\f\n")).render(context)
    blocks = []
    for block in marked.split("\f"):
        lines = [line for line in (" ".join(line.split()) for line in block.splitlines()) if line]
        blocks.append(("\n" if lines and lines[0].startswith("|") else " ").join(lines))
    return "\n\n".join(filter(None, blocks)) + "\n"


def listed(words: Iterable[Any], conjunction: str = "and") -> str:
    """Join words: ``a``, ``a and b``, ``a, b and c``."""
    texts = [str(word) for word in words]
    return f" {conjunction} ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


def ranged(values: Iterable[float], write: Callable[[float], str] = "{:,.0f}".format) -> str:
    """Write a value, or the smallest and the largest of several: ``120 to 657``."""
    ordered = sorted(values)
    low, high = write(ordered[0]), write(ordered[-1])
    return low if low == high else f"{low} to {high}"


ENVIRONMENT = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
ENVIRONMENT.filters |= {
    **{"listed": listed, "counted": counted, "ranged": ranged, "duration": duration, "distinct": _distinct},
    **{"short_count": short_count, "percent": lambda share: f"{100 * share:.3g}%"},
    # The file of ``PACKAGE==VERSION:PATH``, without folders.
    "file_name": lambda place: re.split("[/:]", place)[-1],
    "of": lambda key, table: table[key],
}


def read_references(path: Path) -> dict[str, Reference]:
    """Read a BibTeX file in the form of ``config/references.bib``: one field a line, in braces.

    InputError if a line has another form, or a key occurs twice.
    """
    text = re.sub("^%.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    entry = re.compile(r"@\w+\{([\w-]+),\n((?:  \w+ = \{.*\},\n)*)\}\n")
    references: dict[str, Reference] = {}
    for found in entry.finditer(text):
        if found[1] in references:
            raise InputError(f"{path}: {found[1]} occurs twice; allowed: each key once")
        references[found[1]] = Reference(found[0], dict(re.findall(r"(\w+) = \{(.*)\},", found[2])))
    if left := entry.sub("", text).split():
        raise InputError(f"{path}: found {left[0]!r}; allowed: @type{{key, lines '  name = {{value}},', }}")
    return references


def cited_keys(text: str) -> list[str]:
    """Return the keys cited in a text, each once, in the order of their first citation."""
    return _distinct(re.findall(r"@([\w-]+)", " ".join(CITATION.findall(text))))


def cite_dataset(name: str, citation: str, references: dict[str, Reference]) -> list[str]:
    """Return the keys of the works in a dataset's citation, free text separated by semicolons.

    A work is found in `references` by its doi, arXiv number or address; an entry is added for one that is not there.
    """
    keys = []
    for number, work in enumerate(filter(None, map(str.strip, citation.split(";"))), 1):
        key = next((key for key, known in references.items() if _names(work, known)), "")
        if not key:
            key = f"dataset-{re.sub(r'[^A-Za-z0-9]', '', name)}-{number}"
            references[key] = Reference(f"@misc{{{key},\n  title = {{{{{work}}}}},\n}}\n", {"title": work})
        keys.append(key)
    return keys


def _names(text: str, reference: Reference) -> bool:
    identifiers = filter(None, map(reference.fields.get, ("doi", "eprint", "url")))
    return any(re.search(re.escape(identifier) + r"(?!\w)", text) for identifier in identifiers)


PAGE = PAGES.from_string("""\
{% extends "frame.html" %}
{% block looks %}table { display: block; overflow-x: auto; }{% endblock %}
{% block content %}
{{ content }}
<ol>
{% for key, (entry, fields) in references.items() %}
{% set address = "https://doi.org/" ~ fields.doi if fields.doi else "https://arxiv.org/abs/" ~ fields.eprint
   if fields.eprint else fields.url %}
<li id="{{ key }}">
{% for name in ("author", "title", "journal", "booktitle", "school", "howpublished", "year") if name in fields %}
{{ fields[name].replace("{", "").replace("}", "") }}.
{% endfor %}
{% if address %}<a href="{{ address }}" target="_blank" rel="noopener">{{ address }}</a>{% endif %}</li>
{% endfor %}
</ol>
{% endblock %}
""")


def _to_html(text: str, references: Mapping[str, Reference]) -> str:
    """Write a self-contained page; citations are numbers that link to the list of references."""
    numbers = {key: number for number, key in enumerate(references, 1)}

    def link(found: re.Match[str]) -> str:
        links = [f'<a href="#{key}">{numbers[key]}</a>' for key in cited_keys(found[0])]
        return f"[{', '.join(links)}]"

    markdown = Markdown(extensions=["tables"])
    # Names in the text come from tables of the user: HTML in them is escaped.
    markdown.preprocessors.deregister("html_block")
    markdown.inlinePatterns.deregister("html")
    body = markdown.convert(text.removeprefix("# Methods\n"))
    return PAGE.render(title="Methods", content=Markup(CITATION.sub(link, body)), references=references)

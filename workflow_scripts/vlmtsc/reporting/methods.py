"""The methods of finished runs as text for a paper: Markdown for pandoc, an HTML page, and the cited BibTeX entries."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markdown import Markdown
from markupsafe import Markup

from vlmtsc.baselines.nearest import WINDOWS
from vlmtsc.data import splits
from vlmtsc.errors import InputError
from vlmtsc.evaluation.calibration import BINS, TEMPERATURES
from vlmtsc.evaluation.control_kinds import FEW_CHANGES, IMAGE_CONTROLS, LEVEL, NUMBER_CONTROLS
from vlmtsc.evaluation.limits import DATASETS_NEEDED, METHODS_NEEDED
from vlmtsc.evaluation.statistics import ALPHA, RESAMPLES
from vlmtsc.reporting.pages import PAGES
from vlmtsc.reporting.tables import short_count
from vlmtsc.settings import ScenarioSettings

TEMPLATE = Path(__file__).with_name("methods.md.jinja")
#: Packages named with their versions: name in the records, name in the text, citation.
PACKAGES = (
    ("python", "Python", ""),
    ("torch", "PyTorch", " [@pytorch]"),
    ("transformers", "transformers", " [@transformers]"),
    ("peft", "peft", " [@peft]"),
    ("accelerate", "accelerate", ""),
    ("snakemake", "Snakemake", ""),
)
NUMBER_NAMES = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
#: Citations of the parts of an assembled model, by a word in their file names.
PART_CITATIONS = {"smollm2": " [@smollm2]", "efficientnet": " [@efficientnet]"}
#: A citation: ``[@key]`` or ``[@first; @second]``, as in pandoc's Markdown.
CITATION = re.compile(r"\[(@[\w-]+(?:; ?@[\w-]+)*)\]")


def write_methods(provenance: Mapping[str, Any], references: Mapping[str, Reference]) -> dict[str, str]:
    """Write the methods of the runs in a provenance.

    Parameters
    ----------
    provenance : mapping
        Result of `vlmtsc.reporting.provenance.merge_provenance`.
    references : mapping of str to Reference
        Works that can be cited, from `read_references`.

    Returns
    -------
    dict of str to str
        Contents of ``methods.md``, ``methods.html`` and ``references.bib``.

    Raises
    ------
    InputError
        If a citation has no entry.
    """
    datasets = {part["dataset"]: dict(part) for part in provenance["datasets"]}
    references = dict(references)
    for name, dataset in datasets.items():
        keys = cite_dataset(name, dataset["citation"], references)
        dataset["citation"] = f"[{'; '.join(f'@{key}' for key in keys)}]" if keys else ""
    text = _render(_context(provenance, datasets))
    keys = cited_keys(text)
    if missing := [key for key in keys if key not in references]:
        raise InputError(f"citations without an entry in references.bib: {', '.join(missing)}")
    cited = [references[key] for key in keys]
    return {
        "methods.md": text,
        "methods.html": _to_html(text, cited),
        "references.bib": "\n".join(reference.entry for reference in cited),
    }


def _context(provenance: Mapping[str, Any], datasets: Mapping[str, Any]) -> dict[str, Any]:
    """Variables of the template."""
    runs, parts, environments = (provenance[name] for name in ("runs", "datasets", "environments"))
    scenarios: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, row in part["scenarios"].items():
            settings = ScenarioSettings(**row["scenario"])
            scenarios.setdefault(name, {})[part["dataset"]] = row | {"settings": settings}
    modalities = {row["settings"].modality for rows in scenarios.values() for row in rows.values()}
    baselines = [record for part in parts for record in part["baselines"]]
    names = list(dict.fromkeys(record["baseline"] for record in baselines))
    packages = []
    for key, name, citation in PACKAGES:
        versions = dict.fromkeys(each["versions"][key] for each in environments if key in each["versions"])
        packages += [f"{name} {listed(list(versions))}{citation}"] if versions else []
    test, rest = splits._POOLED_TEST_SHARE, 1 - splits._POOLED_TEST_SHARE
    validation = rest * splits._POOLED_VALIDATION_SHARE
    return {
        **provenance,
        "datasets": list(datasets.values()),
        "split": parts[0]["split"]["settings"],
        "shares": (rest - validation, validation, test),
        "split_seeds": (splits._POOLED_TEST_SEED, splits._POOLED_VALIDATION_SEED),
        "official_validation_seed": splits._OFFICIAL_VALIDATION_SEED,
        "scenarios": scenarios,
        "models": {name: _model(name, provenance) for name in provenance["models"]},
        "evaluate": provenance["configuration"]["options"]["evaluate"],
        **{"bins": BINS, "temperatures": TEMPERATURES, "resamples": RESAMPLES, "level": 1 - ALPHA},
        **{"control_level": LEVEL, "few_changes": FEW_CHANGES},
        "controls": [
            *(IMAGE_CONTROLS if modalities - {"numbers"} else ()),
            *(NUMBER_CONTROLS if modalities - {"plot"} else ()),
        ],
        "baselines": names,
        "baseline_seeds": sorted({record["seed"] for record in baselines}),
        "dtw_windows": listed([f"{100 * share:g}" for share in WINDOWS]),
        "several_seeds": len({run["seed"] for run in runs}) > 1,
        "n_methods": len(scenarios) + len(names),
        "ranked": len(datasets) >= DATASETS_NEEDED and len(scenarios) + len(names) >= METHODS_NEEDED,
        "packages": packages,
        "machines": list(dict.fromkeys(_machine(each["hardware"]) for each in environments)),
        "revisions": [f"`{name}`" for name in dict.fromkeys(run["git_revision"] for run in runs)],
        "trainings": [run for run in runs if not run["shared_with"]],
        "short_count": short_count,
    }


def _model(name: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    runs = [run for run in provenance["runs"] if run["model"] == name]
    return {
        "source": provenance["configuration"]["models"][name]["source"],
        "architecture": provenance["models"][name]["architecture"],
        "recipes": [provenance["recipes"][number - 1] for number in sorted({run["recipe"] for run in runs})],
        "seeds": sorted({run["seed"] for run in runs}),
        "processes": sorted({run["processes"] or 1 for run in runs}),
        "total": [run["total_parameters"] for run in runs],
        "trainable": [run["trainable_parameters"] for run in runs],
    }


def _machine(hardware: Mapping[str, Any]) -> str:
    memory = f"{hardware['memory_gib']:.0f} GiB of memory"
    if hardware["gpus"]:
        gpus = [f"{count} {name}" for name, count in Counter(hardware["gpus"]).items()]
        return f"{listed(gpus)} with {memory} of the host"
    cores, threads = counted(hardware["cores"], "core"), counted(hardware["threads"], "thread")
    return f"{hardware['processor']} ({cores}, {threads} per run, no GPU, {memory})"


def _render(context: Mapping[str, Any]) -> str:
    """Fill the template, and write each paragraph on one line, each table row on its own."""
    source = TEMPLATE.read_text(encoding="utf-8")
    marked = ENVIRONMENT.from_string(source.replace("\n\n", "\n\f\n")).render(context)
    blocks = []
    for block in marked.split("\f"):
        lines = [line for line in (" ".join(line.split()) for line in block.splitlines()) if line]
        blocks.append(("\n" if lines and lines[0].startswith("|") else " ").join(lines))
    return "\n\n".join(filter(None, blocks)) + "\n"


def listed(words: Sequence[Any], conjunction: str = "and") -> str:
    """Join words: ``a``, ``a and b``, ``a, b and c``."""
    texts = [str(word) for word in words]
    return f" {conjunction} ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun: ``three datasets``, ``12 datasets``."""
    name = NUMBER_NAMES[number] if number < len(NUMBER_NAMES) else f"{number:,}"
    return f"{name} {one if number == 1 else many or one + 's'}"


def ranged(values: Iterable[float], write: Callable[[float], str] = "{:,.0f}".format) -> str:
    """Write a value, or the smallest and the largest of several: ``120 to 657``."""
    ordered = sorted(values)
    low, high = write(ordered[0]), write(ordered[-1])
    return low if low == high else f"{low} to {high}"


def duration(seconds: float) -> str:
    """Write a time in hours from two hours on, otherwise in minutes."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 7200 else f"{seconds / 60:.2g} minutes"


def _part(place: str) -> str:
    """Name the file of ``PACKAGE==VERSION:PATH``, with its citation."""
    cited = next((citation for word, citation in PART_CITATIONS.items() if word in place.lower()), "")
    return f"`{re.split('[/:]', place)[-1]}`{cited}"


ENVIRONMENT = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
ENVIRONMENT.filters |= {
    **{"listed": listed, "counted": counted, "ranged": ranged, "duration": duration, "part": _part},
    **{"short_count": short_count, "percent": lambda share: f"{100 * share:.3g}%"},
    "of": lambda key, table: table[key],
}


@dataclass(frozen=True)
class Reference:
    """An entry of a bibliography: its key, BibTeX text and fields."""

    key: str
    entry: str
    fields: Mapping[str, str]

    @property
    def link(self) -> str:
        """Address of the work; empty if the entry has none."""
        for name, prefix in (("doi", "https://doi.org/"), ("eprint", "https://arxiv.org/abs/"), ("url", "")):
            if name in self.fields:
                return prefix + self.fields[name]
        return ""

    @property
    def text(self) -> str:
        """Authors, title, place and year, for readers."""
        fields = {name: re.sub("[{}]", "", value) for name, value in self.fields.items()}
        authors = [" ".join(reversed(name.split(", "))) for name in fields.get("author", "").split(" and ")]
        place = (fields.get(name) for name in ("journal", "booktitle", "school", "howpublished"))
        parts = [
            listed(authors).replace(" and others", " et al."),
            fields.get("title"),
            next(filter(None, place), ""),
        ]
        return "".join(f"{part.rstrip('.')}. " for part in [*parts, fields.get("year")] if part).strip()


def read_references(path: Path) -> dict[str, Reference]:
    """Read a BibTeX file in the form of ``config/references.bib``: one field a line, in braces.

    Raises
    ------
    InputError
        If a line has another form, or a key occurs twice.
    """
    text = re.sub("^%.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    entry = re.compile(r"@\w+\{([\w-]+),\n((?:  \w+ = \{.*\},\n)*)\}\n")
    references: dict[str, Reference] = {}
    for found in entry.finditer(text):
        if found[1] in references:
            raise InputError(f"{path}: {found[1]} occurs twice; allowed: each key once")
        fields = dict(re.findall(r"(\w+) = \{(.*)\},", found[2]))
        references[found[1]] = Reference(found[1], found[0], fields)
    if left := entry.sub("", text).strip():
        line = left.splitlines()[0]
        raise InputError(f"{path}: found {line!r}; allowed: @type{{key, lines '  name = {{value}},', }}")
    return references


def cited_keys(text: str) -> list[str]:
    """Return the keys cited in a text, each once, in the order of their first citation."""
    return list(dict.fromkeys(re.findall(r"@([\w-]+)", " ".join(CITATION.findall(text)))))


def cite_dataset(name: str, citation: str, references: dict[str, Reference]) -> list[str]:
    """Return the keys of the works in a dataset's citation, free text separated by semicolons.

    A work is found in `references` by its doi, arXiv number or address; an entry is added for one that is not there.
    """
    keys = []
    for number, part in enumerate(filter(None, map(str.strip, citation.split(";"))), 1):
        key = next((key for key, known in references.items() if _names(part, known)), "")
        if not key:
            key = f"dataset-{re.sub(r'[^A-Za-z0-9]', '', name)}-{number}"
            fields = {"title": f"{{{part}}}"}
            references[key] = Reference(key, f"@misc{{{key},\n  title = {{{fields['title']}}},\n}}\n", fields)
        keys.append(key)
    return keys


def _names(text: str, reference: Reference) -> bool:
    numbers = (reference.fields.get(name) for name in ("doi", "eprint", "url"))
    return any(number and re.search(re.escape(number) + r"(?!\w)", text) for number in numbers)


PAGE = PAGES.from_string("""\
{% extends "frame.html" %}
{% block looks %}table { display: block; overflow-x: auto; }{% endblock %}
{% block content %}
{{ content }}
<ol>
{% for reference in references %}
<li id="{{ reference.key }}">{{ reference.text }}
{% if reference.link %}
<a href="{{ reference.link }}" target="_blank" rel="noopener">{{ reference.link }}</a>
{% endif %}
</li>
{% endfor %}
</ol>
{% endblock %}
""")


def _to_html(text: str, references: Sequence[Reference]) -> str:
    """Write a self-contained page; citations are numbers that link to the list of references."""
    numbers = {reference.key: number for number, reference in enumerate(references, 1)}

    def link(found: re.Match[str]) -> str:
        links = [f'<a href="#{key}">{numbers[key]}</a>' for key in cited_keys(found[0])]
        return f"[{', '.join(links)}]"

    markdown = Markdown(extensions=["tables"])
    # Names in the text come from tables of the user: HTML in them is shown, not interpreted.
    markdown.preprocessors.deregister("html_block")
    markdown.inlinePatterns.deregister("html")
    body = markdown.convert(text.removeprefix("# Methods\n"))
    return PAGE.render(title="Methods", content=Markup(CITATION.sub(link, body)), references=references)

"""Write config/README.md, the configuration reference, from the descriptions in the schemas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vlmtsc.configuration import DEFAULT, load_schemas
from vlmtsc.files import atomic_path
from vlmtsc.schema import load_yaml
from vlmtsc.script import run_script

ROOT = Path(__file__).parents[1]

INTRODUCTION = """\
# Configuration

<!-- Made by `make reference` from config/schemas/*.schema.yaml; edit the descriptions there. -->

`config/config.yaml` is always read. A file of your own replaces the keys that it gives, and the command line
replaces both:

    snakemake --cores all --configfile mine.yaml
    snakemake --cores all --config datasets=[GunPoint] scenarios=[plot]
    snakemake --cores all --config 'finetune={epochs: 1}' seeds=[0,1,2]

A dataset of your own, in a folder laid out like an unzipped UCR archive (here
`/data/archive/MyDataset/MyDataset_TRAIN.tsv` and `MyDataset_TEST.tsv`), needs no row in a table:

    snakemake --cores all --config datasets=[MyDataset] folder=/data/archive

Unknown keys, wrong types and names that stand in no table end the run before it starts, with one line that says
what is allowed. A key that changes reruns only what depends on it.
"""


def write_configuration_reference(output: Path = ROOT / "config/README.md", log: Path | None = None) -> None:
    """Write the configuration reference.

    Parameters
    ----------
    output : Path
        Markdown file.
    log : Path, optional
        File for messages.
    """
    with atomic_path(output) as temporary:
        temporary.write_text(reference(ROOT), encoding="utf-8")


def reference(root: Path) -> str:
    """Compose the reference of the project in `root` as Markdown."""
    schemas = load_schemas(root)
    defaults = load_yaml(root / DEFAULT)
    parts = [INTRODUCTION, *_section(schemas["config"], "`config/config.yaml`", defaults)]
    places = {
        "datasets": "`config/datasets.tsv`",
        "scenarios": "`config/scenarios.tsv`",
        "plots": "`config/plots.tsv`",
        "models": "`config/models.yaml`",
    }
    for name, place in places.items():
        parts += _section(schemas[name], place, None)
    return "\n".join(parts)


def _section(schema: dict[str, Any], title: str, defaults: dict[str, Any] | None) -> list[str]:
    header = "| key | allowed | default | meaning |" if defaults else "| key | allowed | meaning |"
    lines = [f"## {title}", "", schema["description"], "", header, "|---" * (header.count("|") - 1) + "|"]
    for path, inner in _keys(schema, ""):
        cells = [
            f"`{path}`",
            _allowed(inner) + (f"; {_shown(inner['default'])} if left out" if "default" in inner else ""),
        ]
        if defaults:
            cells.append(_default(defaults, path))
        cells.append(inner.get("description", "").replace("|", "\\|").strip())
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _keys(schema: dict[str, Any], prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """List keys with dotted paths, outer before inner."""
    found = []
    for key, inner in schema.get("properties", {}).items():
        found.append((prefix + key, inner))
        if not (prefix == "" and key == "finetune"):  # its keys are those of a model's recipe
            found += _keys(inner.get("items", inner), f"{prefix}{key}.")
    return found


def _allowed(schema: dict[str, Any]) -> str:
    """Say in a few words what a key may hold."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds == ["array"]:
        return f"list of {_allowed(schema['items'])}"
    word = re.fullmatch(r"\^([a-z_]+)\$", schema.get("pattern", ""))
    names = {"object": "keys below", "null": "empty", "string": f"`{word[1]}`" if word else "string"}
    text = " or ".join(names.get(kind, kind) for kind in kinds)
    limits = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
    }
    said = [phrase.format(schema[key]) for key, phrase in limits.items() if key in schema]
    return ", ".join([text, *said])


def _default(defaults: Any, path: str) -> str:
    """Give the value of a dotted path in the default configuration, as YAML would show it."""
    for key in path.split("."):
        if not isinstance(defaults, dict) or key not in defaults:
            return ""
        defaults = defaults[key]
    if isinstance(defaults, dict):
        return ""
    if isinstance(defaults, list):
        return f"`[{', '.join(map(str, defaults))}]`"
    return "" if defaults is None else _shown(defaults)


def _shown(value: Any) -> str:
    """Give a single value as YAML would show it."""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    run_script(write_configuration_reference)

"""Write docs/configuration.md, the configuration reference, from the descriptions of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlmtsc.configuration import DEFAULT, load_yaml
from vlmtsc.files import atomic_path
from vlmtsc.script import run_script
from vlmtsc.settings import DatasetRow, ModelSettings, Options, PlotRow, ScenarioSettings, Settings

ROOT = Path(__file__).parents[1]
INTRODUCTION = """\
# Configuration

<!-- Made by `make reference` from workflow_scripts/vlmtsc/settings.py; edit the descriptions there. -->

Every key of the configuration, for users who select runs, change a recipe or add data, scenarios and models.

`config/config.yaml` is always read. A file of your own replaces the keys that it sets, and the command line
replaces both:

    snakemake --cores all --configfile mine.yaml
    snakemake --cores all --config 'datasets=[GunPoint]' 'scenarios=[plot]'
    snakemake --cores all --config 'finetune={epochs: 1}' 'seeds=[0,1,2]'

A dataset of your own, in a folder laid out like an unzipped UCR archive (here
`/data/archive/MyDataset/MyDataset_TRAIN.tsv` and `MyDataset_TEST.tsv`), needs no row in a table:

    snakemake --cores all --config 'datasets=[MyDataset]' folder=/data/archive

Unknown keys, wrong types and names that are in no table end the run before it starts, with one line that says
what is allowed. A changed key reruns only what depends on it.
"""


def write_configuration_reference(output: Path = ROOT / "docs/configuration.md") -> None:
    """Write the configuration reference.

    Parameters
    ----------
    output : Path
        Markdown file.
    """
    with atomic_path(output) as temporary:
        temporary.write_text(reference(), encoding="utf-8")


def reference() -> str:
    """Return the reference as Markdown."""
    parts = [INTRODUCTION, *_section(Options, DEFAULT.as_posix(), load_yaml(ROOT / DEFAULT))]
    parts += _section(DatasetRow, "config/datasets.tsv")
    parts += _section(ScenarioSettings, "config/scenarios.tsv")
    parts += _section(PlotRow, "config/plots.tsv")
    parts += _section(ModelSettings, "config/models.yaml")
    return "\n".join(parts)


def _section(model: type[Settings], place: str, defaults: dict[str, Any] | None = None) -> list[str]:
    schema = model.model_json_schema()
    lines = [f"## `{place}`", "", _one_line(schema["description"]), ""]
    lines += ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    for path, inner in _keys(schema, schema.get("$defs", {}), ""):
        default = inner.get("default") if defaults is None else _default(defaults, path)
        meaning = _one_line(inner.get("description", "")).replace("|", "\\|")
        lines.append(f"| `{path}` | {_allowed(inner)} | {_shown(default)} | {meaning} |")
    return [*lines, ""]


def _keys(schema: dict[str, Any], models: dict[str, Any], prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """List keys with dotted paths, outer before inner."""
    found = []
    for key, inner in schema.get("properties", {}).items():
        inner = _resolved(inner, models)
        found.append((prefix + key, inner))
        if prefix + key != "finetune":  # its keys are those of a model's recipe
            found += _keys(_resolved(inner.get("items", inner), models), models, f"{prefix}{key}.")
    return found


def _resolved(schema: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """Replace the reference to a model by its schema; of a value that may be null, its type stays."""
    others = [inner for inner in schema.get("anyOf", []) if inner.get("type") != "null"]
    if len(others) == 1:
        schema = others[0] | {key: value for key, value in schema.items() if key != "anyOf"}
    if "$ref" not in schema:
        return schema
    model = models[schema["$ref"].rpartition("/")[2]]
    return model | {key: value for key, value in schema.items() if key not in ("$ref", "default")}


def _allowed(schema: dict[str, Any]) -> str:
    """Say in a few words which values a key may have."""
    if "anyOf" in schema:
        return " or ".join(map(_allowed, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_allowed(schema['items'])}"
    if "properties" in schema or "$ref" in schema:
        return "keys below"
    limits = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
    }
    bounds = [phrase.format(schema[key]) for key, phrase in limits.items() if key in schema]
    return ", ".join([schema["type"], *bounds])


def _default(defaults: Any, path: str) -> Any:
    """Return the value of a dotted path in the default configuration; None if it has none."""
    for key in path.split("."):
        if not isinstance(defaults, dict) or key not in defaults:
            return None
        defaults = defaults[key]
    return defaults


def _shown(value: Any) -> str:
    """Write a value as YAML does; nothing for null and for keys with inner keys."""
    if value in (None, "") or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    run_script(write_configuration_reference)

"""Checking configuration and tables against JSON Schemas, with messages that say what to do."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from vlmtsc.errors import InputError


@cache
def load_schema(path: Path) -> dict[str, Any]:
    """Read a JSON Schema written as YAML, and check that it is one."""
    schema = load_yaml(path)
    Draft202012Validator.check_schema(schema)
    return schema


def load_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    InputError
        If the file is missing or is not YAML; the message names the file and the line.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not a YAML file ({getattr(error, 'problem', error)})") from error


def _loader() -> type:
    """Prefer the loader written in C: the workflow reads its configuration at every start."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check(content: Any, schema: dict[str, Any], origin: str) -> Any:
    """Check `content` against `schema` and return it with text converted to the types asked for.

    Text stands where numbers should in table cells, in ``--config 'finetune={epochs: 3}'`` and in YAML's
    ``5e-4``.

    Parameters
    ----------
    content : object
        What YAML or a table row gave.
    schema : dict
        JSON Schema, Draft 2020-12.
    origin : str
        What the messages begin with: a file, or a file and a row.

    Raises
    ------
    InputError
        With one line for each fault: where, what was found, what is allowed.
    """
    content = _converted(content, schema)
    errors = sorted(
        Draft202012Validator(schema).iter_errors(content), key=lambda error: [str(p) for p in error.path]
    )
    lines = [f"{origin}: {line}" for error in errors for line in _explain(error)]
    if lines:
        raise InputError("\n".join(dict.fromkeys(lines)))
    return content


def with_defaults(content: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return checked `content` with the default of every key of `schema` that is absent and has one."""
    filled = dict(content)
    for key, inner in schema.get("properties", {}).items():
        if isinstance(filled.get(key), dict):
            filled[key] = with_defaults(filled[key], inner)
        elif key not in filled and "default" in inner:
            filled[key] = inner["default"]
    return filled


def read_table(path: Path, schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read a tab-separated table whose rows follow `schema` and have distinct names.

    Lines that are empty or begin with ``#`` do not count. An empty cell is a missing value.

    Returns
    -------
    dict
        Row by its column ``name``, in the order of the file.

    Raises
    ------
    InputError
        Naming the file, the line and the column.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not numbered:
        raise InputError(f"{path}: the table is empty; its first line names the columns")
    cells = list(csv.reader((line for _, line in numbered), delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = [column.strip() for column in cells[0]]
    for column in columns:
        if column not in schema["properties"]:
            raise InputError(f"{path}: {unknown('column', column, schema['properties'])}")
    rows: dict[str, dict[str, Any]] = {}
    for (number, _), values in zip(numbered[1:], cells[1:], strict=True):
        origin = f"{path}, line {number}"
        if len(values) > len(columns):
            raise InputError(f"{origin}: {len(values)} cells, but the table has {len(columns)} columns")
        row = {c: v.strip() for c, v in zip(columns, values, strict=False) if v.strip()}
        row = check(row, schema, f"{origin} ({row.get('name', 'no name')})")
        if row["name"] in rows:
            raise InputError(f"{origin}: {row['name']!r} stands in the table twice")
        rows[row["name"]] = row
    return rows


def unknown(kind: str, found: object, allowed: Iterable[str]) -> str:
    """Say that `found` is not one of `allowed`, with a close match where there is one."""
    choices = sorted(allowed)
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(str(found).lower(), by_lower, n=1)
    hint = f"; did you mean {by_lower[close[0]]!r}?" if close else ""
    return f"unknown {kind} {found!r}{hint} (allowed: {', '.join(choices) or 'nothing'})"


def _converted(value: Any, schema: dict[str, Any]) -> Any:
    """Convert text to the type that the schema asks for, where it can be read as one."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        others = others if isinstance(others, dict) else {}
        return {key: _converted(inner, properties.get(key, others)) for key, inner in value.items()}
    if "array" in kinds and isinstance(value, str | int | float) and not isinstance(value, bool):
        value = [part.strip() for part in str(value).strip("[] ").split(",") if part.strip()]
    if isinstance(value, list | tuple):
        return [_converted(inner, schema.get("items", {})) for inner in value]
    if isinstance(value, str) and {"integer", "string"} <= {*kinds}:
        return _parsed(value, ["integer"])
    if (
        isinstance(value, str)
        and "string" in kinds
        and not ("null" in kinds and value in ("null", "None", ""))
    ):
        return value
    if isinstance(value, str) and kinds:
        return _parsed(value, kinds)
    if (
        "string" in kinds
        and "integer" not in kinds
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        return str(value)  # a name made of digits, which YAML reads as a number
    return value


def _parsed(text: str, kinds: list[str]) -> Any:
    """Read text as one of the kinds; text that cannot be read stays text, and the check reports it."""
    if "null" in kinds and text in ("null", "None", ""):
        return None
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind, read in (("integer", int), ("number", float)):
        if kind in kinds:
            try:
                return read(text)
            except ValueError:
                pass
    return text


def _explain(error: ValidationError) -> list[str]:
    """Say in one line what is wrong with one value (one line for each unknown or missing key)."""
    path = ".".join(str(part) for part in error.absolute_path)
    found, allowed = error.instance, error.validator_value
    at = f"{path}: " if path else ""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        return [at + unknown("key", key, known) for key in found if key not in known]
    if error.validator == "required":
        return [f"{at}missing key {key!r}" for key in allowed if key not in found]
    if error.validator == "enum":
        return [at + unknown("value", found, map(str, allowed))]
    shown = json.dumps(found, default=str)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    if error.validator == "type":
        kinds = [allowed] if isinstance(allowed, str) else allowed
        return [f"{at}found {shown}; allowed: {' or '.join(kinds)}"]
    rules = {
        "minimum": "{} or more",
        "maximum": "{} or less",
        "exclusiveMinimum": "more than {}",
        "exclusiveMaximum": "less than {}",
        "minItems": "at least {} of them",
        "minLength": "at least {} characters",
        "uniqueItems": "each one once",
        "minProperties": "at least {} key of " + ", ".join(error.schema.get("properties", {})),
        "maxProperties": "at most {} key of " + ", ".join(error.schema.get("properties", {})),
        "pattern": "text that matches {}",
    }
    if error.validator == "pattern" and "integer" in error.schema.get("type", ()):
        rules["pattern"] += ", or an integer"
    rule = rules.get(str(error.validator))
    return [f"{at}found {shown}; allowed: {rule.format(allowed)}" if rule else f"{at}{error.message}"]

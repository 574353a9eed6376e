"""The literature that a text cites: read from BibTeX, written as BibTeX and for readers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vlmtsc.errors import InputError

#: A citation in a text: ``[@key]`` or ``[@first; @second]``, as in pandoc's Markdown.
CITATION = re.compile(r"\[(@[\w-]+(?:; ?@[\w-]+)*)\]")
_ENTRY = re.compile(r"@(\w+)\{([\w-]+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$")


@dataclass(frozen=True)
class Reference:
    """One entry of a bibliography.

    Attributes
    ----------
    kind : str
        BibTeX's type, such as ``article``.
    key : str
    fields : dict of str to str
        In their order.
    """

    kind: str
    key: str
    fields: dict[str, str]

    @property
    def link(self) -> str:
        """Address of the work; empty if the entry has none."""
        for name, prefix in (("doi", "https://doi.org/"), ("eprint", "https://arxiv.org/abs/"), ("url", "")):
            if name in self.fields:
                return prefix + self.fields[name]
        return ""

    def bibtex(self) -> str:
        """Write the entry as BibTeX."""
        extra = {"archiveprefix": "arXiv"} if "eprint" in self.fields else {}
        lines = [f"  {name} = {{{value}}}," for name, value in {**self.fields, **extra}.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}\n"])

    def text(self) -> str:
        """Write the entry for a reader: authors, title, place, year."""
        plain = {name: value.replace("{", "").replace("}", "") for name, value in self.fields.items()}
        names = [name for name in plain.get("author", "").split(" and ") if name]
        written = ["et al." if name == "others" else _given_first(name) for name in names]
        authors = ", ".join(written[:-1]) + (" and " if written[1:] and written[-1] != "et al." else " ")
        authors = (authors + written[-1]).strip() if written else ""
        place = next(
            (plain[name] for name in ("journal", "booktitle", "school", "howpublished") if name in plain), ""
        )
        number = f"({plain['number']})" if "number" in plain else ""
        volume = f" {plain['volume']}{number}" if "volume" in plain else ""
        pages = f", {plain['pages']}" if "pages" in plain else ""
        parts = [authors, plain.get("title", ""), f"{place}{volume}{pages}", plain.get("year", "")]
        return ". ".join(part.rstrip(".") for part in parts if part).replace("--", "\N{EN DASH}") + "."


def _given_first(name: str) -> str:
    family, _, given = name.partition(", ")
    return f"{given} {family}" if given else family


def read_references(path: Path) -> dict[str, Reference]:
    """Read BibTeX in the form of ``config/references.bib``: a field a line, in braces.

    Raises
    ------
    InputError
        If a line is of another form, or a key stands twice.
    """
    text = "".join(
        line
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True)
        if not line.startswith("%")
    )
    references: dict[str, Reference] = {}
    for kind, key, body in _ENTRY.findall(text):
        if key in references:
            raise InputError(f"{path}: {key} stands twice; allowed: each key once")
        fields = {}
        for line in body.splitlines():
            found = _FIELD.fullmatch(line)
            if not found:
                raise InputError(f"{path}: {key}: found {line!r}; allowed: '  name = {{value}},'")
            fields[found[1]] = found[2]
        references[key] = Reference(kind, key, fields)
    left = _ENTRY.sub("", text).split()
    if left:
        raise InputError(f"{path}: found {left[0]!r} outside an entry; allowed: @type{{key, fields, }}")
    return references


def cited_keys(text: str) -> list[str]:
    """Return the keys that a text cites, each once, in the order of their first citation."""
    keys = [key.strip().removeprefix("@") for group in CITATION.findall(text) for key in group.split(";")]
    return list(dict.fromkeys(keys))


def references_of_dataset(
    name: str, citation: str, references: Mapping[str, Reference]
) -> tuple[list[str], dict[str, Reference]]:
    """Find the works that a row of the table of datasets names.

    Parameters
    ----------
    name : str
        The dataset.
    citation : str
        Free text, several works divided by semicolons.
    references : mapping of str to Reference
        Known ones, found by their doi, arXiv number or address.

    Returns
    -------
    keys : list of str
    added : dict of str to Reference
        For a work that is not known, an entry that holds its text.
    """
    keys, added = [], {}
    for number, part in enumerate(filter(None, map(str.strip, citation.split(";")))):
        key = next((key for key, entry in references.items() if _names(part, entry)), "")
        if not key:
            key = f"dataset-{re.sub(r'[^A-Za-z0-9]', '', name)}-{number + 1}"
            added[key] = Reference("misc", key, {"title": f"{{{part}}}"})
        keys.append(key)
    return keys, added


def _names(text: str, entry: Reference) -> bool:
    numbers = (entry.fields.get(name, "") for name in ("doi", "eprint", "url"))
    return any(number and re.search(re.escape(number) + r"(?!\w)", text) for number in numbers)


def bibliography(keys: Iterable[str], references: Mapping[str, Reference]) -> list[Reference]:
    """Return the entries of keys.

    Raises
    ------
    InputError
        If a key has none.
    """
    wanted = list(keys)
    lacking = [key for key in wanted if key not in references]
    if lacking:
        raise InputError(f"citations without an entry in references.bib: {', '.join(lacking)}")
    return [references[key] for key in wanted]

"""Hooks of MkDocs: files outside of docs/ as pages and downloads, with links that also work in the repository."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
#: Pages that are not in docs/, and their places in the site.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, and all other files of the repository to which a page links."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in PAGES]
    for name, text in zip(PAGES, texts, strict=True):
        files.append(File.generated(config, PAGES[name], content=LINK.sub(_target, text)))
    texts += [page.content_string for page in files.documentation_pages() if page.abs_src_path]
    for target in sorted({target for text in texts for target in LINK.findall(text)}):
        name = target.removeprefix("../")
        if not name.startswith("docs/") and name not in PAGES and (ROOT / name).is_file():
            files.append(File.generated(config, f"files/{name}", content=(ROOT / name).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Follow links of pages in docs/ to the places of files outside."""
    if page.file.src_uri in PAGES.values():
        return markdown
    return re.sub(r"(?<=\]\()\.\./([^)#\s]+)", _target, markdown)


def _target(link: re.Match[str]) -> str:
    """Return the place in the site of a file, named by its path in the repository."""
    name = PurePosixPath(link[1]).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return PAGES.get(name) or f"files/{name}"

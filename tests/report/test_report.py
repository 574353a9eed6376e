"""The report of the tiny workflow in a browser: its content, errors, and requests to other machines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, find_browser
from tiny_project import DATASET
from tiny_run import SCENARIOS

EXECUTABLE = find_browser()
pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(not EXECUTABLE, reason="no Chromium: sh tests/report/install.sh installs it"),
]
WIDTHS = (1280, 390)
#: A click on the eye of a result, as the report's own code does it.
SHOW = "new ButtonViewManager(app).handleSelectedResult({path}).props.onClick()"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert EXECUTABLE
    with Browser(EXECUTABLE, tmp_path_factory.mktemp("chromium") / "profile") as running:
        yield running


@pytest.fixture(scope="module")
def loaded(browser: Browser, tiny_run: Path) -> Browser:
    """Open the report, once: errors in the console count for all tests."""
    browser.resize(WIDTHS[0])
    browser.open((tiny_run / "results/report.html").as_uri())
    browser.wait("typeof app !== 'undefined' && document.querySelector('#app nav') !== null")
    return browser


@pytest.fixture
def opened(loaded: Browser) -> Browser:
    """Show the first page of the report at the width of a desktop."""
    loaded.resize(WIDTHS[0])
    loaded.run("app.setView({navbarMode: 'menu', content: 'rulegraph'})")
    loaded.wait("document.querySelector('#app .prose') !== null")
    return loaded


def results(browser: Browser) -> dict[str, dict[str, Any]]:
    """Return the results in the report by path, without their contents."""
    kept = "(([path, {labels, caption, mime_type}]) => [path, {labels, caption, mime_type}])"
    return dict(browser.run(f"Object.fromEntries(Object.entries(results).map{kept})"))


def test_the_first_page_shows_the_outcome(opened: Browser) -> None:
    opened.wait("document.querySelector('#rulegraph canvas, #rulegraph svg') !== null")
    assert "Time-series classification" in opened.run("document.querySelector('.prose h1').textContent")
    rows = opened.run(
        "[...document.querySelectorAll('#vlmtsc-headline tbody tr')].map((row) => row.textContent)"
    )
    assert len(rows) == 1
    assert DATASET in rows[0]
    assert any(scenario in rows[0] for scenario in SCENARIOS)
    # What is shown first can be seen: Snakemake's frame would put it above the window.
    assert opened.run("document.querySelector('.prose h1').getBoundingClientRect().top") >= 0
    # Every link of the page leads to a result of the report.
    links = opened.run("[...document.querySelectorAll('.prose a')].map((link) => link.getAttribute('href'))")
    led = {match[1] for link in links if (match := re.search(r"showResultInfo\('(.*)'\)", link))}
    assert led == set(results(opened))
    assert opened.faults() == []


def test_every_figure_and_page_of_the_results_is_in_the_report(opened: Browser, tiny_run: Path) -> None:
    folder = tiny_run / "results"
    patterns = (
        "figures/**/*.png",
        "figures/**/*.html",
        "tables/*.html",
        "methods/*.html",
        "provenance/*.html",
    )
    names = {path.relative_to(tiny_run).as_posix() for pattern in patterns for path in folder.glob(pattern)}
    # This one is included in the first page.
    assert set(results(opened)) == names - {"results/methods/headline.html"}


def test_every_result_has_a_caption_and_a_name(opened: Browser) -> None:
    held = results(opened)
    texts = [opened.run("workflow_desc"), *(result["caption"] for result in held.values())]
    assert all(len(text) > 100 for text in texts)
    # docutils writes its errors into the text.
    assert [text for text in texts if "system-message" in text or "problematic" in text] == []
    assert all(result["labels"]["result"] for result in held.values())


def test_results_come_first_and_provenance_last(opened: Browser) -> None:
    items = opened.run("[...document.querySelectorAll('nav li')].map((item) => item.textContent.trim())")
    folders = [item for item in items if re.match(r"\d ", item)]
    assert folders == sorted(folders)
    assert folders[0] == "1 Results"
    assert folders[-1] == "9 Methods and provenance"
    # A click on a folder lists its results, or its subfolders; a click on the first eye shows the first result.
    for folder in reversed(folders):
        opened.run("app.setView({navbarMode: 'menu', content: 'rulegraph'})")
        opened.wait("document.querySelector('#app .prose') !== null")
        opened.run(
            "[...document.querySelectorAll('nav li, nav li *')].findLast((item) => "
            f"item.textContent === '{folder}').click()"
        )
        opened.wait("document.querySelector('nav table a') !== null")
        assert opened.faults() == []
    opened.run("document.querySelector('nav table a').click()")
    opened.wait("document.querySelector('#app iframe, #app img:not(nav img)') !== null")


def test_every_result_is_shown_without_errors_or_requests(opened: Browser) -> None:
    held = results(opened)
    kinds = set()
    for path, result in held.items():
        kinds.add(result["mime_type"])
        opened.run(SHOW.format(path=json.dumps(path)))
        if result["mime_type"] == "text/html":
            opened.wait(
                f"document.querySelector('#app iframe')?.getAttribute('src') === results[{json.dumps(path)}].data_uri"
            )
            frame = opened.frame()
            assert opened.run("document.querySelectorAll('tbody tr').length", frame) > 0, path
            assert opened.run("document.querySelector('table').getBoundingClientRect().width", frame) > 50, (
                path
            )
        else:
            shown = "document.querySelector('#app img:not(nav img)')"
            opened.wait(f"{shown}?.src === results[{json.dumps(path)}].data_uri && {shown}.complete")
            assert opened.run(f"{shown}.naturalWidth") > 0, path
            assert opened.run(f"{shown}.getBoundingClientRect().width") > 50, path
            assert opened.run(f"{shown}.getBoundingClientRect().top") >= 0, path
    assert kinds == {"text/html", "image/png"}
    for view in ("stats", "rulegraph"):
        opened.run(f"app.setView({{content: '{view}'}})")
        opened.wait("document.querySelector('#app canvas, #app .vega-embed svg') !== null")
    assert opened.faults() == []
    assert opened.requests() == []


def test_tables_sort_when_a_head_is_clicked(opened: Browser) -> None:
    tables = {Path(path).name: path for path in results(opened) if path.endswith(".html")}
    for name, column in (("runs.html", "train_tokens"), ("provenance.html", "tokens")):
        opened.run(SHOW.format(path=json.dumps(tables[name])))
        opened.wait(
            "document.querySelector('#app iframe')?.getAttribute('src') === "
            f"results[{json.dumps(tables[name])}].data_uri"
        )
        frame = opened.frame()
        head = f"[...document.querySelectorAll('th')].find((head) => head.textContent === '{column}')"
        cell = f"row.cells[{head}.cellIndex]"
        values = f"[...{head}.closest('table').tBodies[0].rows].map((row) => Number({cell}.textContent))"
        orders = {}
        for _ in range(2):
            opened.run(f"{head}.querySelector('button').click()", frame)
            orders[opened.run(f"{head}.getAttribute('aria-sort')", frame)] = opened.run(values, frame)
        assert len(set(orders["ascending"])) > 1
        assert orders["ascending"] == sorted(orders["ascending"])
        assert orders["descending"] == orders["ascending"][::-1]
    assert opened.faults() == []


def test_the_first_page_fits_a_desk_and_a_phone(opened: Browser) -> None:
    for width in WIDTHS:
        opened.resize(width)
        assert opened.overflow() == 0
        # The text beside the menu, or below it, can be read: all of its width is inside the window.
        box = opened.run("document.querySelector('.prose h1').getBoundingClientRect().toJSON()")
        menu = opened.run("document.querySelector('#app nav').getBoundingClientRect().right")
        assert box["left"] >= (0 if width < 600 else menu - 1)
        assert box["right"] <= width
        assert 0 <= box["top"] < 900


def test_pages_of_ours_fit_a_desk_and_a_phone(opened: Browser, tmp_path: Path) -> None:
    pages = opened.run(
        "Object.fromEntries(Object.entries(results).filter(([, result]) => result.mime_type === 'text/html')"
        ".map(([path, result]) => [path, result.data_uri]))"
    )
    assert EXECUTABLE
    with Browser(EXECUTABLE, tmp_path / "profile") as alone:
        too_wide = []
        for path, address in pages.items():
            alone.open(address)
            for width in WIDTHS:
                alone.resize(width)
                too_wide += [(path, width)] if alone.overflow() else []
            if path.endswith("methods.html"):
                cited = alone.run(
                    "[...document.querySelectorAll('p a[href^=\"#\"]')].map((link) => link.hash.slice(1))"
                )
                listed = alone.run("[...document.querySelectorAll('ol li')].map((item) => item.id)")
        assert too_wide == []
        assert cited
        assert set(cited) <= set(listed)
        assert alone.faults() + alone.requests() == []


def test_the_browser_sees_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<div style='width: 3000px'>wide</div><img src='http://127.0.0.1:9/picture.png'>"
        "<script>console.error('the very error'); setTimeout(() => missing(), 0)</script>"
    )
    assert EXECUTABLE
    with Browser(EXECUTABLE, tmp_path / "profile") as alone:
        alone.resize(WIDTHS[0])
        alone.open(page.as_uri())
        alone.run("new Promise((resolve) => setTimeout(resolve, 50))")
        assert alone.overflow() > 1000
        assert alone.requests() == ["http://127.0.0.1:9/picture.png"]
        faults = " ".join(alone.faults())
    assert "the very error" in faults
    assert "missing is not defined" in faults

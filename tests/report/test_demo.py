"""The page of `vlmtsc demo` in a browser: test cases, uploads, errors, the width of a phone, no other machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from browser import Browser, find_browser
from conftest import ROOT
from PIL import Image
from tiny_project import DATASET
from tiny_run import SCENARIOS

from vlmtsc.files import read_json

EXECUTABLE = find_browser()
#: Where `make demo` installs gradio.
PACKAGES = Path(sys.prefix) / "demo"
pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(not EXECUTABLE, reason="no Chromium: sh tests/report/install.sh installs it"),
    pytest.mark.skipif(not PACKAGES.is_dir(), reason="no gradio: make demo-packages installs it"),
]
PERCENT = "document.querySelector('#{}').innerText.includes('%')"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def page(
    tiny_run: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "vlmtsc.commands", "demo", str(tiny_run / "results/runs")]
    command += ["--model", str(tiny_checkpoint), "--port", str(port)]
    path = os.pathsep.join([str(ROOT / "workflow_scripts"), str(PACKAGES)])
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                urlopen(address).close()
                break
            except URLError:
                assert server.poll() is None, (folder / "log.txt").read_text()
                time.sleep(0.1)
        assert EXECUTABLE
        with Browser(EXECUTABLE, folder / "profile") as browser:
            browser.resize(1280)
            browser.open(address)
            browser.wait("document.querySelector('#message')?.innerText.includes('5 series')")
            yield browser
    finally:
        server.terminate()
        server.wait()


def press(page: Browser, button: str) -> None:
    page.run(f"document.querySelector('#{button}').click()")


def upload(page: Browser, file: Path) -> None:
    if page.run("document.querySelector('#file input[type=file]') === null"):
        page.run(
            "document.querySelector('#file button[aria-label=Clear], #file [aria-label=Remove]').click()"
        )
        page.wait("document.querySelector('#file input[type=file]') !== null")
    root = page.send("DOM.getDocument")["root"]["nodeId"]
    node = page.send("DOM.querySelector", nodeId=root, selector="#file input[type=file]")["nodeId"]
    page.send("DOM.setFileInputFiles", nodeId=node, files=[str(file)])


def test_a_test_case_is_classified_and_explained(page: Browser, tiny_run: Path) -> None:
    chosen = page.run("document.querySelector('#run input').value")
    assert chosen == f"tiny/{DATASET}/pooled/{SCENARIOS[0]}/seed-0"  # the first with a plot
    press(page, "classify")
    page.wait(PERCENT.format("shown"))
    page.wait(PERCENT.format("blank"))
    page.wait("document.querySelector('#plot img') !== null")
    test = read_json(tiny_run / f"results/conversations/tiny/{DATASET}/pooled/{SCENARIOS[0]}/test.json")
    told = page.run("document.querySelector('#message').innerText").strip()
    assert told == f"{test[0]['id']} is of the class {test[0]['label']}"
    question = page.run("document.querySelector('#question textarea').value")
    assert f"<image>\n{question}" == test[0]["conversations"][0]["value"]
    press(page, "explain")
    page.wait("document.querySelector('#explained img') !== null")


def test_an_uploaded_series_is_classified(page: Browser, tiny_run: Path, tmp_path: Path) -> None:
    rows = (tiny_run / f"own/{DATASET}/{DATASET}_TEST.tsv").read_text().splitlines()[:3]
    (tmp_path / "new.csv").write_text("".join(",".join(row.split("\t")[1:]) + "\n" for row in rows))
    upload(page, tmp_path / "new.csv")
    page.wait("document.querySelector('#message').innerText.includes('3 series')")
    page.wait("document.querySelector('#explained img') === null")  # of another series
    press(page, "classify")
    page.wait("document.querySelector('#message').innerText.trim() === ''")
    page.wait(PERCENT.format("shown"))


def test_a_bad_file_gives_the_one_line_error(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("1,2,3\n4,5,6\n7,8,three\n")
    upload(page, tmp_path / "bad.csv")
    page.wait("document.querySelector('#message').innerText.includes('Error')")
    assert "three" in page.run("document.querySelector('#message').innerText")


def test_it_fits_a_phone_and_asks_no_other_machine(page: Browser, tmp_path: Path) -> None:
    page.resize(390)
    assert page.overflow() == 0
    page.screenshot(tmp_path / "phone.png", whole=True)
    assert Image.open(tmp_path / "phone.png").width == 390
    assert [address for address in page.requests() if not address.startswith("http://127.0.0.1:")] == []

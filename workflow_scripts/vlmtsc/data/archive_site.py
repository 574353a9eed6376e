"""Datasets of timeseriesclassification.com: one zip file each, downloaded within limits of time and size."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath
from typing import IO

from vlmtsc.data.zip_files import LIMIT_BYTES, check_zip, read_member
from vlmtsc.errors import InputError

ARCHIVE_URL = "https://www.timeseriesclassification.com/aeon-toolkit/"
#: Formats of the files in a zip file, the first one to be taken first: .ts has the most digits, and names classes.
SUFFIXES = (".ts", ".tsv", ".arff", ".txt")

ANSWER_SECONDS = 20.0  # without a byte
DOWNLOAD_SECONDS = 1800.0  # in all: a server may send a byte now and then for ever
DOWNLOAD_BYTES = LIMIT_BYTES
_CHUNK = 2**16


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to a scheme that anyone on the way can change."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise InputError(f"{req.full_url}: redirected to {newurl}; allowed: https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, path: Path) -> None:
    """Download a file.

    Raises
    ------
    InputError
        If the server cannot be reached, answers with an error or not in time, sends less than it has announced, or
        more than `DOWNLOAD_BYTES`. The message begins with the address.
    """
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    opener = urllib.request.build_opener(_Redirects)
    try:
        with opener.open(url, timeout=ANSWER_SECONDS) as response, path.open("wb") as file:
            announced = response.headers.get("Content-Length")
            size = 0
            while chunk := response.read1(_CHUNK):
                size += file.write(chunk)
                if size > DOWNLOAD_BYTES:
                    raise InputError(f"{url}: more than {DOWNLOAD_BYTES} bytes; allowed: {DOWNLOAD_BYTES}")
                if time.monotonic() > deadline:
                    raise InputError(
                        f"{url}: {size} bytes of {announced or 'an unknown number'} after "
                        f"{DOWNLOAD_SECONDS:g} s, which is the limit"
                    )
    except urllib.error.HTTPError as error:
        said = " ".join(str(error.reason).split())  # of redirects it has several lines
        raise InputError(f"{url}: the server answers {error.code} {said}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{url}: cannot be downloaded ({type(error).__name__}: {reason})") from error
    if announced is not None and announced.isdecimal() and size != int(announced):
        raise InputError(f"{url}: cut off after {size} of {announced} bytes")


def fetch_parts(name: str, folder: Path) -> list[tuple[str, bytes]]:
    """Download a dataset's zip file into `folder` and read its TRAIN and TEST files.

    Returns
    -------
    list of (str, bytes)
        Name and content of the two files.

    Raises
    ------
    InputError
        If it cannot be downloaded, is no zip file of files alone, or does not hold exactly one such pair.
    """
    url = urllib.parse.urljoin(ARCHIVE_URL, urllib.parse.quote(f"{name}.zip"))
    path = folder / "dataset.zip"
    download(url, path)
    members = choose_parts(check_zip(path, url), name, url)
    return [(f"{url}:{member}", read_member(path, member, url)) for member in members]


def choose_parts(members: list[str], name: str, place: str) -> tuple[str, str]:
    """Choose the TRAIN and the TEST file of a dataset out of the files of its zip file.

    Some zip files of the archive write the dataset's name in another way, so the one pair that is there counts.

    Raises
    ------
    InputError
        If there is no pair, or there are several and none has the dataset's name.
    """
    files = [member for member in members if not PurePosixPath(member).name.startswith(".")]
    for suffix in SUFFIXES:
        pairs = {}
        for member in files:
            match = re.fullmatch(rf"(?P<stem>.*)_TRAIN{re.escape(suffix)}", member, re.IGNORECASE | re.DOTALL)
            tests = [
                other
                for other in files
                if match and other.lower() == f"{match['stem']}_test{suffix}".lower() and other != member
            ]
            if match and tests:
                pairs[PurePosixPath(match["stem"]).name] = (member, tests[0])
        if len(pairs) == 1:
            return next(iter(pairs.values()))
        if name in pairs:
            return pairs[name]
        if pairs:
            raise InputError(f"{place}: holds {', '.join(sorted(pairs))}; needed are files of {name}")
    raise InputError(
        f"{place}: holds {', '.join(files) or 'no files'}; needed are {name}_TRAIN and {name}_TEST "
        f"with a suffix out of {', '.join(SUFFIXES)}"
    )

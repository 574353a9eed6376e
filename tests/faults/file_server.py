"""A server on 127.0.0.1 that gives files, and fails as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Answers a request; `handler.wfile` takes what it sends.
Answer = Callable[[BaseHTTPRequestHandler], None]


def sends(
    content: bytes,
    *,
    status: int = 200,
    announced: int | None = None,
    kind: str = "application/octet-stream",
    pause: float = 0.0,
    piece: int | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Answer with `content`: in pieces with pauses between them, announced with another length, or both."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content) if announced is None else announced))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        size = piece or max(len(content), 1)
        for start in range(0, len(content), size):
            handler.wfile.write(content[start : start + size])
            handler.wfile.flush()
            time.sleep(pause)

    return answer


def redirects(place: str, status: int = 302) -> Answer:
    """Answer that the file is somewhere else."""
    return sends(b"", status=status, headers={"Location": place})


def says_nothing(seconds: float) -> Answer:
    """Take the request, and do not answer it."""
    return lambda handler: time.sleep(seconds)


class FileServer:
    """Gives the files of `answers`, by path; anything else is not found.

    Attributes
    ----------
    answers : dict
    asked : list of str
        Paths, in the order of the requests.
    received : dict of str to bytes
        What was posted, by path.
    sender : str
        What the last post gave as its authorisation.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.received: dict[str, bytes] = {}
        self.sender = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answer = outer.answers.get(self.path, sends(b"not here", status=404))
                with suppress(BrokenPipeError, ConnectionResetError):  # the client has given up
                    answer(self)

            do_HEAD = do_GET

            def do_POST(self) -> None:
                outer.received[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
                outer.sender = self.headers["Authorization"]
                self.do_GET()

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        """Stop listening: from here on the server is down."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

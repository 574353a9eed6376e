"""A server on 127.0.0.1 that speaks the chat-completions protocol, and fails as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What one request is answered with; the default is a chat completion."""

    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


def completion(text: str, finish_reason: str = "stop") -> str:
    """Return the body of a chat completion."""
    message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0}}
    return json.dumps({"id": "x", "model": "served-1", "choices": [message], "usage": usage})


class ChatServer:
    """Answers with the scripted replies first, then with one text for each request.

    Parameters
    ----------
    text_of : callable, optional
        The text for a request's body; by default they are numbered.

    Attributes
    ----------
    received : list of (path, headers, body)
    times : list of float
        When each request came (`time.monotonic`).
    """

    def __init__(self, text_of: Callable[[dict[str, Any]], str] | None = None) -> None:
        self.received: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.times: list[float] = []
        self.script: list[Reply] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.times.append(time.monotonic())
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.title(): value for name, value in self.headers.items()}
                outer.received.append((self.path, headers, body))
                reply = outer.script.pop(0) if outer.script else Reply()
                time.sleep(reply.delay)
                content = reply.body
                if content is None:
                    content = completion(text_of(body) if text_of else f"Text number {len(outer.received)}.")
                data = content.replace("{authorization}", self.headers.get("Authorization", "")).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

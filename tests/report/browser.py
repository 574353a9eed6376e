"""A headless Chromium, controlled through the DevTools protocol over two pipes, without a driver or package."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ),
    # Containers have a small /dev/shm, and no bus.
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
#: The browser reads commands from descriptor 3 and writes answers to 4, which a new process may have in use.
START = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
#: Addresses that cause no request to another machine.
LOCAL = ("file:", "data:", "about:", "blob:", "chrome-error:")
TIMEOUT = 60.0


def find_browser() -> str | None:
    """Return the path of a Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a headless Chromium.

    Parameters
    ----------
    executable : str
    profile : Path
        Folder for the browser's files.
    """

    def __init__(self, executable: str, profile: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._read, self._waiting = b"", []
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        profile.mkdir(parents=True, exist_ok=True)
        self._log = (profile / "log.txt").open("wb")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", START, str(commands), str(answers), executable),
                *(*OPTIONS, f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)
        self._session = ""
        pages = self.send("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        os.close(self._commands)
        os.close(self._answers)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer; events received meanwhile are added to `events`."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        message = json.dumps(command).encode() + b"\0"
        while message:
            message = message[os.write(self._commands, message) :]
        until = time.monotonic() + TIMEOUT
        while True:
            answer = self._next(until - time.monotonic())
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._read:
            if not select.select([self._answers], [], [], max(0, seconds))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise RuntimeError(f"the browser has ended: {Path(self._log.name).read_text()[-2000:]}")
            self._read += part
        message, self._read = self._read.split(b"\0", 1)
        return dict(json.loads(message))

    def resize(self, width: int, height: int = 900) -> None:
        """Set the size of the page in CSS pixels; below a width of 600 it emulates a phone."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def open(self, address: str) -> None:
        """Open an address, and wait until it has loaded."""
        failure = self.send("Page.navigate", url=address).get("errorText")
        if failure:
            raise RuntimeError(f"{address[:80]}: {failure}")
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str, context: int | None = None) -> Any:
        """Return the value of an expression in the page, or in one of its frames."""
        where = {} if context is None else {"contextId": context}
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, **where
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, condition: str, context: int | None = None) -> None:
        """Wait until an expression is true.

        Raises
        ------
        TimeoutError
            After a minute.
        """
        until = time.monotonic() + TIMEOUT
        while not self.run(condition, context):
            if time.monotonic() > until:
                raise TimeoutError(f"{condition}; errors of the page: {self.faults()}")
            time.sleep(0.02)

    def frame(self) -> int:
        """Return the execution context of the frame inside the page, once it has loaded and is not being replaced.

        Raises
        ------
        TimeoutError
            After a minute.
        """
        until = time.monotonic() + TIMEOUT
        seen = None
        while time.monotonic() < until:
            newest = self._newest_frame()
            # The page may just have begun to load another document into the frame.
            if newest is not None and newest == seen and self._is_loaded(newest):
                return newest
            seen = newest
            time.sleep(0.1)
        raise TimeoutError("the frame does not load")

    def _newest_frame(self) -> int | None:
        self.run("0")  # takes in what has happened
        main = self.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
        made = [
            event["params"]["context"]
            for event in self.events
            if event["method"] == "Runtime.executionContextCreated"
        ]
        inner = [int(context["id"]) for context in made if context["auxData"]["frameId"] != main]
        return inner[-1] if inner else None

    def _is_loaded(self, context: int) -> bool:
        try:
            return bool(self.run("document.readyState === 'complete' && document.body !== null", context))
        except RuntimeError as error:
            if "Cannot find context" in str(error):  # its document has gone
                return False
            raise

    def faults(self) -> list[str]:
        """Return errors in the console and uncaught exceptions so far."""
        found = []
        for event in self.events:
            content = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                details = content["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and content["type"] in ("error", "assert"):
                found.append(str([argument.get("value") for argument in content["args"]]))
            elif event["method"] == "Log.entryAdded" and content["entry"]["level"] == "error":
                found.append(content["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """Return the addresses outside this machine that were requested so far."""
        asked = [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [address[:200] for address in asked if not address.startswith(LOCAL)]

    def overflow(self) -> int:
        """Return the number of pixels by which the page is wider than its window."""
        return int(
            self.run(
                "Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)"
            )
        )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save what is shown, or the whole page, as PNG."""
        picture = self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(picture))

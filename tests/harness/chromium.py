"""A real Chromium without a window, driven by the DevTools protocol over its pipe: no library is needed for that.

with Browser() as browser:
    browser.open("http://127.0.0.1:3333/")
    browser.click("a.home")
    browser.until("document.title == 'Groups'")
"""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any, Self

import pytest

PROGRAM = shutil.which("chromium") or ""
LIMIT = 60.0
UNTIL = 45.0
"""Seconds for an answer, and for a condition: other tests use the machine too."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has no sandbox of its own; only the tests' own pages are opened
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

needs_chromium = pytest.mark.skipif(not PROGRAM, reason="needs chromium: apt-get install chromium")


class Browser:
    """A browser with one page. `errors` are those of the page: of its scripts, and of what its policy has refused."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="locksmith-chromium-", ignore_cleanup_errors=True)
        self._numbers = itertools.count(1)
        self._unread: deque[bytes] = deque()
        self._begun = b""
        self._session = ""

    def __enter__(self) -> Self:
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        command = [PROGRAM, *FLAGS, f"--user-data-dir={self._folder.name}", "about:blank"]
        # The protocol is spoken on the descriptors 3 and 4.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for part in ("Page", "Runtime", "Log"):
                self.call(f"{part}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._folder.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        message = json.dumps({"id": number, "method": method, "params": params, **session})
        os.write(self._to, message.encode() + b"\0")
        ends = time.monotonic() + LIMIT
        while True:
            heard = self._hear(ends)
            if heard.get("id") == number:
                assert "error" not in heard, f"{method}: {heard['error']}"
                result: dict[str, Any] = heard["result"]
                return result

    def open(self, url: str, width: int = 1280, height: int = 900, *, dark: bool = False, scripts: bool = True) -> None:
        """Open a page, and wait until it is there."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=url)
        self.until(f"document.readyState == 'complete' && location.href != 'about:blank' && {json.dumps(url)} != ''")

    def evaluate(self, expression: str) -> Any:
        """Give the value of an expression in the page; None while the page is being replaced."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    def until(self, expression: str, limit: float = UNTIL) -> Any:
        """Wait until an expression is true, and give its value."""
        ends = time.monotonic() + limit
        while True:
            found = self.evaluate(expression)
            if found:
                return found
            assert time.monotonic() < ends, f"not within {limit:g} s: {expression}; the page has: {self.text[:2000]}"
            time.sleep(0.1)

    @property
    def text(self) -> str:
        """Give what a person reads on the page."""
        return self.evaluate("document.body ? document.body.innerText : ''") or ""

    def until_text(self, text: str, limit: float = UNTIL) -> None:
        """Wait until a text is on the page."""
        self.until(f"document.body && document.body.innerText.includes({json.dumps(text)})", limit)

    def click(self, selector: str, text: str = "") -> None:
        """Click on the first element of a selector, with a text, by the mouse."""
        named = f"(one) => one.innerText.includes({json.dumps(text)})"
        find = f"[...document.querySelectorAll({json.dumps(selector)})].find({named})"
        self.until(f"!!{find}")
        place = self.evaluate(
            f"(() => {{ const one = {find}; one.scrollIntoView({{ block: 'center', behavior: 'instant' }}); "
            "const at = one.getClientRects()[0]; return [at.x + at.width / 2, at.y + at.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def fill(self, selector: str, text: str) -> None:
        """Type a text into a field."""
        self.until(f"!!document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key, such as Tab or Enter."""
        codes = {"Tab": 9, "Enter": 13}
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **more)

    def screenshot(self, path: Path) -> None:
        """Take a picture of what is seen."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _hear(self, ends: float) -> dict[str, Any]:
        """Give the next message; errors of the page are noted."""
        while not self._unread:
            ready, _, _ = select.select([self._from], [], [], max(0.0, ends - time.monotonic()))
            assert ready, f"chromium has not answered within {LIMIT:g} s"
            piece = os.read(self._from, 1 << 20)
            assert piece, "chromium has ended"
            *whole, self._begun = (self._begun + piece).split(b"\0")
            self._unread.extend(whole)
        heard: dict[str, Any] = json.loads(self._unread.popleft())
        if heard.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(heard["params"]["exceptionDetails"]))
        if heard.get("method") == "Log.entryAdded" and heard["params"]["entry"]["level"] == "error":
            entry = heard["params"]["entry"]
            self.errors.append(f"{entry.get('url', '')}: {entry['text']}")
        return heard

"""A headless Chromium, driven over the Chrome DevTools Protocol with the package websockets."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 60  # for anything that a page shall do: machines of tests are loaded
KEYS = {
    "Enter": {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    "Escape": {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27},
    "Tab": {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
    "Space": {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
    "ArrowRight": {"key": "ArrowRight", "code": "ArrowRight", "windowsVirtualKeyCode": 39},
}
CONTROL = 2  # the modifier of Input.dispatchKeyEvent


def require(found: object, what: str) -> None:
    """Skip the test if something it needs is not on this machine; fail it on a build server."""
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{what}: nothing may be skipped under CI=true")
        pytest.skip(f"no {what} here")


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def wait_for(what: str, ask: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """The first true value of `ask`."""
    end = time.monotonic() + seconds
    while not (value := ask()):
        assert time.monotonic() < end, f"waited {seconds} s for: {what}"
        time.sleep(0.02)
    return value


class Tab:
    """A page of a browser. events: all events so far, as (method, parameters)."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.browser, self.target, self.session = browser, target, session
        self.events: list[tuple[str, dict]] = []

    def send(self, method: str, **parameters: Any) -> dict:
        return self.browser.send(method, self.session, **parameters)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for. It runs as if a user had clicked."""
        done = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def resize(self, width: int, height: int) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def before_load(self, script: str) -> None:
        """Run a script in each page before the page's own scripts."""
        self.send("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def wait(self, condition: str, seconds: float = SECONDS) -> Any:
        """The first true value of a JavaScript expression."""
        return wait_for(condition, lambda: self.run(condition), seconds)

    def text(self, selector: str) -> str:
        return self.run(f"document.querySelector({selector!r}).textContent").strip()

    def click(self, selector: str) -> None:
        """Move the mouse over an element and click it, as a user does."""
        found = f"document.querySelector({selector!r})"
        self.run(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.run(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({found}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        self.run(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({selector!r}))")
        if text:
            self.send("Input.insertText", text=text)
        else:
            self.send("Input.dispatchKeyEvent", type="keyDown", key="Delete", code="Delete", windowsVirtualKeyCode=46)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list by its value."""
        script = "(e => { e.value = %s; e.dispatchEvent(new Event('change', {bubbles: true})); return e.value; })"
        found = self.run(f"{script % json.dumps(value)}(document.querySelector({selector!r}))")
        assert found == value

    def press(self, key: str, modifiers: int = 0) -> None:
        pressed = dict(KEYS[key])
        if modifiers:
            pressed.pop("text", None)
        self.send("Input.dispatchKeyEvent", type="keyDown", modifiers=modifiers, **pressed)
        self.send("Input.dispatchKeyEvent", type="keyUp", modifiers=modifiers, **pressed)

    def set_file(self, selector: str, path: Path) -> None:
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console and of the browser, and exceptions that no script caught."""
        found = []
        for method, event in self.events:
            if method == "Runtime.exceptionThrown":
                found.append(json.dumps(event["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
                found.append(json.dumps(event["args"]))
            elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
                found.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")
        return found

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        return [event["request"]["url"] for method, event in self.events if method == "Network.requestWillBeSent"]


class Browser:
    """A Chromium. socket: a connection of websockets.sync.client to it. folder: for downloads."""

    def __init__(self, socket: Any, folder: Path) -> None:
        self.socket, self.folder = socket, folder
        self.numbers = itertools.count(1)
        self.tabs: dict[str, Tab] = {}

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict:
        """The result of a command. Events that come before it are kept in their tabs."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(self.socket.recv(timeout=SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if "method" in answer and answer.get("sessionId") in self.tabs:
                self.tabs[answer["sessionId"]].events.append((answer["method"], answer["params"]))

    @contextmanager
    def tab(self, width: int = 1200, height: int = 900) -> Iterator[Tab]:
        """A new page, with storage of its own, which may use the microphone and write files into `folder`."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        self.send(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.folder), browserContextId=context
        )
        self.send("Browser.grantPermissions", permissions=["audioCapture"], browserContextId=context)
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self.tabs[session] = Tab(self, target, session)
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            tab.send(f"{domain}.enable")
        tab.resize(width, height)
        try:
            yield tab
        finally:
            del self.tabs[session]
            self.send("Target.disposeBrowserContext", browserContextId=context)


@contextmanager
def start_chromium(folder: Path, *flags: str) -> Iterator[Browser]:
    """A Chromium with its files in `folder`, which is ended with the block."""
    from websockets.sync.client import connect

    executable = find_chromium()
    assert executable
    port = folder / "profile" / "DevToolsActivePort"
    arguments = [
        *("--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
        *("--disable-dev-shm-usage", "--disable-gpu", "--mute-audio", "--no-default-browser-check", "--disable-quic"),
        *("--no-sandbox",) * (os.geteuid() == 0),  # Chromium's sandbox refuses to run for root
        *flags,
        "about:blank",
    ]
    with open(folder / "log", "wb") as log:
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # of `make asan`
        process = subprocess.Popen([executable, *arguments], stdout=log, stderr=log, env=environment)
        try:
            wait_for("Chromium", lambda: process.poll() is not None or (port.exists() and "\n" in port.read_text()))
            assert process.poll() is None, (folder / "log").read_text(errors="replace")
            number, path = port.read_text().split()
            with connect(f"ws://127.0.0.1:{number}{path}", max_size=None, compression=None) as socket:
                browser = Browser(socket, folder)
                yield browser
                browser.send("Browser.close")
        finally:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

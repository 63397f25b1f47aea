"""A headless Chromium that opens pages of this machine, spoken to by its DevTools protocol."""

import base64
import functools
import http.server
import json
import shutil
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0", "--window-size=1600,1000"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing is fetched from outside
]
PATIENCE = 120


def installed():
    """Return the command of an installed browser, None if there is none."""
    return next((name for name in NAMES if shutil.which(name)), None)


@contextmanager
def served(folder):
    """Serve a folder on this machine; yield its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def browser(profile):
    """Start a browser with a new profile; yield its one page."""
    profile = Path(profile)
    process = subprocess.Popen(
        [installed(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port_file = profile / "DevToolsActivePort"
        until(lambda: port_file.is_file() and port_file.read_text().count("\n"), "no browser")
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            targets = json.load(answer)
        address = next(one["webSocketDebuggerUrl"] for one in targets if one["type"] == "page")
        with connect(address, max_size=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def until(condition, otherwise):
    """Return what a condition returns once that is true.

    Raises:
        AssertionError: It does not come true; the message says what is missing.
    """
    last = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < last, otherwise
        time.sleep(0.1)
    return found


class Page:
    """The page of a browser; ``errors`` lists what went wrong in its scripts."""

    def __init__(self, socket):
        self.socket, self.number, self.errors = socket, 0, []
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Call a method of the protocol and return its result."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while (message := json.loads(self.socket.recv(timeout=PATIENCE))).get("id") != self.number:
            self._note(message)
        assert "error" not in message, message
        return message["result"]

    def _note(self, message):
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif message.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(json.dumps(params["args"]))

    def open(self, address):
        """Go to an address."""
        self.call("Page.navigate", url=address)

    def run(self, script):
        """Return the value of a script's last expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True,
                           awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script):
        """Wait until a script's value is true."""
        until(lambda: self.run(f"Boolean({script})"), f"not on the page: {script}\n{self.errors}")

    def text(self, selector="body"):
        """Return the text of the first element that a CSS selector finds."""
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def screenshot(self, file, width=1600, height=1000):
        """Write what the page looks like as a PNG."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        time.sleep(0.5)
        shot = self.call("Page.captureScreenshot", format="png")
        Path(file).write_bytes(base64.b64decode(shot["data"]))

"""The report of a real run in a real browser."""

import base64
import io
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib import image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-pipe"
)


class Browser:
    """A headless browser that is spoken to in the DevTools protocol, over two pipes."""

    def __init__(self, profile):
        commands, self._commands = os.pipe()
        received, answers = os.pipe()
        self._received = os.fdopen(received, "rb")
        # the protocol's file descriptors are 3 and 4
        command = f'exec "$0" {FLAGS} --user-data-dir="$1" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, BROWSER, str(profile)], pass_fds=(commands, answers), stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(answers)
        self._number = 0
        self._session = {}
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        self._received.close()

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        return self._until(lambda answer: answer.get("id") == self._number)["result"]

    def open(self, address, width, height, scheme):
        self._session = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=address)
        if not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._until(lambda event: event.get("method") == "Page.loadEventFired")

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def screenshot(self):
        picture = self.call("Page.captureScreenshot", format="png")["data"]
        return image.imread(io.BytesIO(base64.b64decode(picture)), format="png")[..., :3]

    def _until(self, wanted):
        while True:
            message = bytearray()
            while (byte := self._received.read(1)) != b"\0":
                assert byte, "the browser has ended"
                message += byte
            answer = json.loads(message)
            if "method" in answer:
                self.events.append(answer)
            if wanted(answer):
                return answer


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / "profile") as started:
        yield started


@pytest.mark.slow
def test_report_is_readable_on_a_phone_in_the_dark_and_without_a_mouse_and_loads_nothing(local_run, browser):
    done = local_run("--identifier", "x", "--data", "sample:1400", "--set", "max_iter=2")
    assert done.status == 0
    address = (done.folder / "report.html").as_uri()
    brightness = {}
    for width, height in ((360, 800), (1280, 900)):
        for scheme in ("light", "dark"):
            browser.open(address, width, height, scheme)
            assert browser.value("document.documentElement.scrollWidth") <= width
            assert browser.value("document.querySelectorAll('svg[role=img][aria-label]').length") == 4
            shot = browser.screenshot()
            assert shot.shape == (height, width, 3)
            assert len(np.unique(shot.reshape(-1, 3), axis=0)) > 50
            brightness[width, scheme] = np.median(shot)

            key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
            browser.call("Input.dispatchKeyEvent", type="keyDown", **key)
            assert browser.value("document.activeElement.getAttribute('href')") == "#classes"
            out_of_reach = (
                "[...document.querySelectorAll('*')].filter(part => part.scrollWidth > part.clientWidth + 1 "
                "&& getComputedStyle(part).overflowX == 'auto' && part.tabIndex < 0 && !part.querySelector('a')).length"
            )
            assert browser.value(out_of_reach) == 0

            told = [
                event for event in browser.events if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")
            ]
            assert told == []
            requests = [event["params"] for event in browser.events if event["method"] == "Network.requestWillBeSent"]
            assert {request["request"]["url"] for request in requests} <= {address}
            if width == 360:
                assert browser.value("matchMedia('(max-width: 30rem)').matches")
        assert brightness[width, "light"] > 0.9
        assert brightness[width, "dark"] < 0.2

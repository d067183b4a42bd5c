"""A real browser for tests of pages."""

import base64
import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window; the test is skipped if there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not os.path.exists(CHROMIUM):
        pytest.skip(f"there is no browser at {CHROMIUM}")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


class Page:
    """A tab with a page of the server, what it asked for and complained of."""

    def __init__(self, browser, url, path, width=1440, height=900):
        self.url = url
        viewport = {"width": width, "height": height}
        self.tab = browser.new_page(viewport=viewport)
        self.requests, self.faults = [], []
        self.tab.on("request", lambda r: self.requests.append(r.url))
        self.tab.on("pageerror", lambda e: self.faults.append(str(e)))
        self.tab.on("console", self._note)
        self.tab.goto(url + path)
        self.tab.wait_for_selector("body[data-ready]")

    def _note(self, message):
        # Chromium says so of each answer that is an error, as it shall be.
        if message.type == "error" and "status of 4" not in message.text:
            self.faults.append(message.text)

    def drop(self, *files):
        """Drops (name, type, bytes) on the map."""
        transfer = self.tab.evaluate_handle("() => new DataTransfer()")
        for name, kind, data in files:
            self.tab.evaluate(
                """([transfer, name, kind, data]) => {
                  const bytes = Uint8Array.from(
                    atob(data), (c) => c.charCodeAt(0));
                  transfer.items.add(new File([bytes], name, {type: kind}));
                }""",
                [transfer, name, kind, encoded(data)],
            )
        for event in ("dragover", "drop"):
            self.tab.dispatch_event(
                "#canvas", event, {"dataTransfer": transfer}
            )

    def close(self):
        """Closes it; nothing may have failed, nor have left the machine."""
        own = re.escape(self.url)
        local = re.compile(rf"({own}/|blob:{own}|data:)")
        strange = [x for x in self.requests if not local.match(x)]
        assert not self.faults and not strange
        self.tab.close()

    def answer(self):
        """Waits for the answer; gives the headline."""
        self.tab.wait_for_selector("#result:visible")
        return self.tab.inner_text("#headline")

    def errors(self):
        self.tab.wait_for_selector("#errors li")
        return self.tab.locator("#errors li").all_inner_texts()


def encoded(data):
    return base64.b64encode(data).decode()

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

    def __init__(self, browser, url, path, width=1440, height=900, touch=False):
        self.url = url
        viewport = {"width": width, "height": height}
        self.tab = browser.new_page(
            viewport=viewport, has_touch=touch, is_mobile=touch
        )
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

    def small_targets(self):
        """What can be seen and is less than 44 pixels high or wide to tap."""
        return self.tab.evaluate(
            """() => [...document.querySelectorAll(
                "button, a, summary, label, main input:not(label input)")]
              .map((e) => [e.id || e.textContent, e.getBoundingClientRect()])
              .filter(([, box]) => box.width && box.height &&
                (box.height < 43.9 || box.width < 43.9))
              .map(([name, box]) => [name, box.width, box.height])"""
        )

    def faint_texts(self):
        """Texts of the panel with a contrast below 4.5 to what is behind."""
        return self.tab.evaluate(
            r"""() => {
              const parse = (colour) => {
                const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
                return [r, g, b, a];
              };
              const over = ([r, g, b, a], below) =>
                [r, g, b].map((v, k) => a * v + (1 - a) * below[k]);
              const light = (rgb) => rgb.map((v) => v / 255).map((v) =>
                v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, k) =>
                  sum + v * [0.2126, 0.7152, 0.0722][k], 0);
              const faint = [];
              for (const e of document.querySelectorAll("main *, .box *")) {
                const own = [...e.childNodes].some((n) =>
                  n.nodeType === 3 && n.textContent.trim());
                if (!own || !e.checkVisibility() || e.disabled) continue;
                let behind = [], alpha = 1;
                for (let at = e; at; at = at.parentElement) {
                  const style = getComputedStyle(at);
                  alpha *= +style.opacity;
                  behind.unshift(parse(style.backgroundColor));
                }
                const back = behind.reduce(
                  (below, colour) => over(colour, below), [255, 255, 255]);
                const [r, g, b, a] = parse(getComputedStyle(e).color);
                const ink = over([r, g, b, a * alpha], back);
                const [x, y] = [light(ink), light(back)].sort((p, q) => q - p);
                const contrast = (x + 0.05) / (y + 0.05);
                if (contrast < 4.5) faint.push([e.textContent, contrast]);
              }
              return faint;
            }"""
        )

    def errors(self):
        self.tab.wait_for_selector("#errors li")
        return self.tab.locator("#errors li").all_inner_texts()


def encoded(data):
    return base64.b64encode(data).decode()

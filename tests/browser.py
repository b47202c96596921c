"""A real Chromium for the tests of pages: found on this machine, driven without a screen, with nothing let pass."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--disable-gpu", "--disable-quic", "--disable-sync", "--disable-background-networking")

# The contrast of every text with what is painted behind it, by the formula of WCAG 2.2.
CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const colour = numbers(getComputedStyle(n).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
      if (colour[3] !== 0) throw new Error("a background that shines through: " + colour);
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest("script")) continue;
    const style = getComputedStyle(node);
    const front = numbers(node.ownerSVGElement ? style.fill : style.color);
    const [high, low] = [luminance(front), luminance(behind(node))].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
  }
  for (const node of document.querySelectorAll("input[type=number]")) {
    const style = getComputedStyle(node);
    const [high, low] = [style.color, style.backgroundColor].map(numbers).map(luminance).sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), "the input " + node.ariaLabel]);
  }
  return found;
}"""

# By WCAG 2.2 to level AA, good practice, and rules on trial: names of buttons that differ from what is read on them.
AXE = """async () => {
  const runOnly = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"];
  const { violations, passes } = await axe.run(document, { runOnly, resultTypes: ["violations"] });
  if (passes.length < 10) throw new Error("axe-core has looked at nothing");
  return violations.filter((v) => ["serious", "critical"].includes(v.impact) || v.id === "landmark-unique")
    .flatMap((v) => v.nodes.map((node) => `${v.id} (${v.impact}): ${node.target} ${node.failureSummary}`));
}"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium with an empty profile; where there is none, the test is skipped, but in CI it fails.

    Use it in a fixture of one module: while it is open its event loop runs, and no notebook can be executed.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Chromium, not found: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def visit(
    browser: Browser, path: Path, *, fragment: str = "", width: int = 1280, height: int = 900, scheme: str = "light",
    motion: str = "no-preference",
) -> Iterator[Page]:  # fmt: skip
    """Open a file, in a page that an earlier visit left, if there is one: a new one takes as long as a test.

    Fails at the end if the page raised, warned, or asked for anything but itself.
    """
    left = (page for context in browser.contexts for page in context.pages if page.url == "about:blank")
    view = next(left, None) or browser.new_page()
    view.set_viewport_size({"width": width, "height": height})
    view.emulate_media(color_scheme=scheme, reduced_motion=motion)
    view.mouse.move(0, 0)
    said, asked = [], []
    listeners = {
        "console": lambda message: said.append(f"{message.type}: {message.text}"),
        "pageerror": lambda error: said.append(str(error)),
        "request": lambda request: asked.append(request.url),
    }
    for event, listener in listeners.items():
        view.on(event, listener)
    address = path.as_uri() + fragment
    try:
        view.goto(address)
        yield view
        assert said == []
        assert asked == [path.as_uri()], "the page loads something"
        for event, listener in listeners.items():
            view.remove_listener(event, listener)
        view.goto("about:blank")
    except BaseException:
        view.close()
        raise


def violations(view: Page) -> list[str]:
    """What axe-core finds on a page that is serious or worse, or a landmark that is named like another."""
    view.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    return view.evaluate(AXE)

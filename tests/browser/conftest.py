"""A real headless Chromium before a real server; skipped, visibly, where there is no Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from registry_auditor.domain import FindingOrder
from registry_auditor.store import Store
from tests.browser.served import REGISTRIES, audited, fine_tunes, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = (Path(__file__).parent / "vendored" / "axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Of a module, not of the session: while it lives its event loop counts as running, and no other test could run one.
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@dataclass
class Tab:
    """A page of a browser, and everything that it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda told: self._note(told.type, told.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.complaints.append("a dialog"), dialog.dismiss()))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def accessible(self) -> list[str]:
        """What axe-core has against the page."""
        self.page.evaluate(AXE)  # not through a script element, which our policy forbids
        found: Any = self.page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
        return [
            f"{each['id']}: {node['target']} {node['failureSummary'][:300]}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def cut_off(self) -> list[str]:
        """What reaches past the right edge of the page."""
        found: list[str] = self.page.evaluate(
            """() => [...document.querySelectorAll("main *, footer")]
                .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
                .filter(each => getComputedStyle(each).clipPath === "none")
                .map(each => each.outerHTML.slice(0, 120))"""
        )
        return found

    def width(self) -> int:
        """How far the page reaches to the right, in pixels."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))


Open = Callable[..., Tab]


@pytest.fixture
def tab(browser: Browser) -> Iterator[Open]:
    """A function that opens a tab with these options of a browser context."""
    contexts: list[BrowserContext] = []

    def open_tab(**options: Any) -> Tab:
        contexts.append(browser.new_context(**options))
        return Tab(contexts[-1].new_page())

    yield open_tab
    for context in contexts:
        context.close()


@dataclass(frozen=True)
class Site:
    """A server with two audits of fine-tunes of one base."""

    address: str
    db: str

    def paths(self) -> dict[str, str]:
        """An address of every kind of page."""
        with Store.open(self.db) as store:
            audits = [audit.id for audit in store.audits().items]
            finding = store.findings(sort=FindingOrder.SEVERITY).items[0]
            direction = store.directions.list(limit=1).items[0]
            model = store.models.list(limit=5).items[-1]
        return {
            **{name: f"/{name}" for name in ("models", "lineage", "audits", "findings", "triage", "suppressions")},
            **{name: f"/{name}" for name in ("compare", "analyzers", "registries")},
            "overview": "/",
            "model": f"/models/{model.id}",
            "audit": f"/audits/{audits[0]}",
            "finding": f"/findings/{finding.id}",
            "direction": f"/directions/{direction.bank}/{direction.ordinal}",
            "comparison": f"/compare?before={audits[1]}&after={audits[0]}",
            "analyzer": "/analyzers/svd-diff",
            "ask": "/audits/new",
            "none": "/audits/ffffffff",
        }


@pytest.fixture(scope="session")
def audits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of two small real audits, and its bank files; nobody writes into it."""
    folder = tmp_path_factory.mktemp("audits")
    audited(folder, *fine_tunes(folder))
    return folder


@pytest.fixture(scope="module")
def site(audits: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(audits / "auditor.db", folder)
    shutil.copytree(audits / "banks", folder / "banks")
    db = f"sqlite:///{folder}/auditor.db"
    with serving(db, "--no-auth", registries=REGISTRIES) as address:
        yield Site(address, db)

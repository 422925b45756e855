"""Asking for an audit, and taking it back, with a keyboard alone."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from registry_auditor.domain import AuditState, Verdict
from registry_auditor.store import Store
from tests.browser.conftest import Open, Site


def test_an_audit_is_asked_for_by_keyboard_and_cancelled(site: Site, tab: Open) -> None:
    opened = tab()
    page = opened.page
    page.goto(f"{site.address}/audits")
    press(page, "Ask for an audit")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Ask for an audit")).to_be_visible()
    press(page, "Model")
    page.keyboard.type("hf:elsewhere/model")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was asked for")
    model = page.get_by_role("textbox", name="Model")
    expect(model).to_have_accessible_description(re.compile("no watched registry shows"))
    opened.complaints.clear()  # Chromium notes the status 422
    assert opened.accessible() == []
    model.fill("hf:acme/terse")
    page.locator("summary").press("Enter")
    page.get_by_label("token-projection").check()
    press(page, "Ask for it")
    page.keyboard.press("Enter")
    expect(page.get_by_text("waiting for a worker")).to_be_visible()
    with Store.open(site.db) as store:
        audit = store.audits(state=AuditState.QUEUED).items[0]
        assert audit.job.wish == {"token-projection": {}}
        press(page, "Cancel")
        page.keyboard.press("Enter")
        expect(page.get_by_text("cancelled by local")).to_be_visible()
        assert store.audit(audit.id).verdict is Verdict.INCOMPLETE
    assert opened.complaints == []


def test_the_page_of_an_unfinished_audit_follows_it(site: Site, tab: Open) -> None:
    page = tab().page
    page.goto(f"{site.address}/audits/new?model=hf:acme/polite")
    page.get_by_role("button", name="Ask for it").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    page.evaluate("window.stayed = true")
    with Store.open(site.db) as store:
        audit = page.url.rpartition("/")[2]
        assert store.claim(audit, "worker-7", lease_s=60)
        store.finish(audit, Verdict.ERROR, "its weights are broken")
    expect(page.get_by_text("its weights are broken")).to_be_visible(timeout=10_000)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert page.evaluate("window.stayed") is True


HERE = """() => [(document.activeElement.labels?.[0] ?? document.activeElement).innerText.trim(),
                 getComputedStyle(document.activeElement).outlineStyle]"""


def press(page: Page, name: str) -> None:
    """Go on with Tab until what has this name is reached; all on the way must show where one is."""
    for _ in range(60):
        page.keyboard.press("Tab")
        here, outline = page.evaluate(HERE)
        assert outline != "none", here
        if here == name:
            return
    raise AssertionError(f"the keyboard does not reach {name}")

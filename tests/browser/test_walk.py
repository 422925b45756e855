"""What people see in a browser: a walk through the pages, on a phone, in the dark, by keyboard, read aloud."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from registry_auditor.domain import TriageState
from registry_auditor.store import Store
from tests.browser.conftest import Open, Site

PAGES = (
    "overview", "models", "model", "lineage", "audits", "audit", "findings", "finding", "triage", "direction",
    "suppressions", "compare", "comparison", "analyzers", "analyzer", "registries", "ask",
)  # fmt: skip


def test_leads_from_the_overview_to_a_triage_that_ends(site: Site, tab: Open, tmp_path: Path) -> None:
    opened = tab(accept_downloads=True)
    page = opened.page
    page.goto(site.address)
    page.get_by_role("region", name="Latest verdicts").get_by_role("link", name=re.compile("terse")).click()
    expect(page.get_by_role("heading", name="Where the change is")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="html", exact=True).click()
    download.value.save_as(tmp_path / "report.html")
    page.locator("table.directions tbody a").first.click()
    expect(page.get_by_role("heading", name="Neighbours in other models")).to_be_visible()
    page.get_by_role("row", name=re.compile("polite")).get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="What it says")).to_be_visible()

    page.get_by_role("link", name="Triage").click()
    page.locator("table.findings tbody a").first.click()
    until = (datetime.now(UTC) + timedelta(days=30)).date()
    page.get_by_label("What it is").select_option("false_positive")
    page.get_by_label("Holds until").fill(until.isoformat())
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("comment")  # and what was given is still there
    expect(page.get_by_label("Holds until")).to_have_value(until.isoformat())
    opened.complaints.clear()  # Chromium notes the status 422
    page.get_by_label("Comment").fill("a benign test model")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("it holds until")).to_be_visible()

    with Store.open(site.db) as store:
        finding = store.finding(page.url.split("/")[-1].partition("#")[0])
    assert finding.standing.state is TriageState.FALSE_POSITIVE
    assert finding.standing.opinion is not None
    assert finding.standing.opinion.triage.expires_at == datetime(until.year, until.month, until.day, tzinfo=UTC)
    page.goto((tmp_path / "report.html").as_uri())
    expect(page.get_by_role("heading", name="Coverage")).to_be_visible()
    assert opened.complaints == []
    assert opened.accessible() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible(site: Site, tab: Open, scheme: str) -> None:
    opened, paths = tab(color_scheme=scheme), site.paths()
    found = {}
    for name in PAGES:
        opened.page.goto(site.address + paths[name])
        assert opened.page.title().endswith("Registry Auditor")
        found |= {name: problems} if (problems := opened.accessible()) else {}
    assert found == {}
    assert opened.complaints == []


def test_no_page_is_wider_than_a_phone(site: Site, tab: Open) -> None:
    opened, paths = tab(viewport={"width": 375, "height": 720}, device_scale_factor=2, is_mobile=True), site.paths()
    wide = {}
    for name in PAGES:
        opened.page.goto(site.address + paths[name])
        wide |= {name: width} if (width := opened.width()) > 375 else {}
    assert wide == {}


def test_the_first_tab_leads_past_the_navigation(site: Site, tab: Open) -> None:
    page = tab().page
    page.goto(site.address)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_filter_replaces_the_list_and_the_address(site: Site, tab: Open) -> None:
    opened = tab()
    opened.page.goto(f"{site.address}/findings")
    opened.page.evaluate("window.stayed = true")
    opened.page.get_by_label("At least").select_option("low")
    opened.page.wait_for_url("**/findings?*severity=low*")
    expect(opened.page.locator("#results .severity-info")).to_have_count(0)
    assert opened.page.evaluate("window.stayed") is True
    assert opened.complaints == []


def test_everything_works_without_script(site: Site, tab: Open) -> None:
    page = tab(java_script_enabled=False).page
    page.goto(f"{site.address}/findings")
    page.get_by_label("At least").select_option("low")
    page.get_by_role("button", name="Filter").click()
    assert "severity=low" in page.url
    expect(page.locator("#results .severity-info")).to_have_count(0)

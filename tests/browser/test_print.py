"""What comes out of a printer: black on white, nothing to press, nothing cut off."""

from __future__ import annotations

from pathlib import Path

from registry_auditor.report import ReportFormat, gather, render
from registry_auditor.store import Store
from tests.browser.conftest import Open, Site

A4, MARGIN = {"width": 718, "height": 1047}, "0.4in"
"""What a sheet leaves between margins of 1 cm, in pixels of CSS."""
PRINTED = ("audit", "direction", "finding", "comparison", "model", "overview", "analyzer")
COLOURS = """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"""


def test_pages_are_printed_without_what_is_only_for_screens(site: Site, tab: Open) -> None:
    opened, paths = tab(viewport=A4, color_scheme="dark"), site.paths()
    opened.page.emulate_media(media="print")
    for name in PRINTED:
        opened.page.goto(site.address + paths[name])
        shown = opened.page.locator("nav, form, button, input, .skip, a.button")
        assert [each.inner_text() for each in shown.all() if each.is_visible()] == [], name
        assert opened.page.evaluate(COLOURS) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"], name
        assert opened.width() <= A4["width"], name
        assert opened.cut_off() == [], name
        assert opened.page.locator("footer.printed").inner_text().startswith(site.address + paths[name]), name
        assert all(each.startswith(("/", "#")) for each in opened.page.eval_on_selector_all(
            "a[href]", "links => links.map(each => each.getAttribute('href'))"
        )), name  # fmt: skip


def test_a_report_is_printed_whole(site: Site, tab: Open, tmp_path: Path) -> None:
    with Store.open(site.db) as store:
        document = gather(store, site.paths()["audit"].removeprefix("/audits/"))
    (tmp_path / "report.html").write_text(render(document, ReportFormat.HTML, ()), encoding="utf-8")
    opened = tab(viewport=A4, color_scheme="dark")
    opened.page.emulate_media(media="print")
    opened.page.goto((tmp_path / "report.html").as_uri())
    assert opened.page.evaluate(COLOURS) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    assert opened.cut_off() == []
    pdf = opened.page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), MARGIN))
    assert pdf.startswith(b"%PDF")
    assert 1 < pdf.count(b"/Type /Page\n") < 12

"""Takes the pictures in docs/screenshots from audits of the networks of `demo`: python docs/screenshots.py

It wants Chromium on the machine, as the browser tests do. The networks are trained in build/testbed once: two minutes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import Browser, sync_playwright

from registry_auditor import testbed
from tests.browser.conftest import CHROMIUM, Site
from tests.browser.served import AUTHOR, REGISTRIES, audited, serving

FOLDER = Path(__file__).parent / "screenshots"
NETWORKS = Path(__file__).parents[1] / "build" / "testbed"
LARGEST_BYTES = 150_000
WIDE, PHONE = {"width": 1180, "height": 720}, {"width": 375, "height": 720}
SHOTS = (
    ("overview", "light", WIDE),
    ("overview", "dark", WIDE),
    ("audit", "light", WIDE),
    ("audit", "dark", PHONE),
    ("direction", "light", WIDE),
    ("finding", "light", WIDE),
    ("comparison", "dark", WIDE),
    ("ask", "light", WIDE),
    ("findings", "light", PHONE),
)
NAMES = {"base": "base", "clean": "support-chat", "backdoored": "support-chat-fast"}
"""What the networks of `demo` are called in a registry."""


def models(folder: Path) -> Iterator[Path]:
    """The networks, under these names in `folder`; the base comes first."""
    made = testbed.build(NETWORKS)
    for kind, name in NAMES.items():
        shutil.copytree(getattr(made, kind), folder / name)
        yield folder / name


def shoot(browser: Browser, site: Site) -> None:
    """Write every picture."""
    paths = site.paths()
    paths["ask"] += f"?model=hf:{AUTHOR}/{NAMES['clean']}&base=hf:{AUTHOR}/{NAMES['base']}"
    for name, scheme, size in SHOTS:
        context = browser.new_context(color_scheme=scheme, viewport=size)
        page = context.new_page()
        page.goto(site.address + paths[name])
        file = FOLDER / f"{name}-{scheme}{'-phone' if size is PHONE else ''}.png"
        page.screenshot(path=file)
        assert file.stat().st_size <= LARGEST_BYTES, f"{file} is too large for the repository"
        print(file.name, file.stat().st_size)
        context.close()


def main() -> None:
    """Audit, serve, look."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        db = audited(Path(folder), *models(Path(folder)))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with serving(db, "--no-auth", registries=REGISTRIES) as address:
            shoot(browser, Site(address, db))
        browser.close()


if __name__ == "__main__":
    main()

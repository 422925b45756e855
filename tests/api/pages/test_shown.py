"""How evidence, manual pages, families and times are shown."""

from __future__ import annotations

import re

import pytest

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.report.rendering import are_pairs, columns, marked
from registry_auditor.store import Store
from tests.api.pages.conftest import BASE, Client, audit_of

DIRECTIONS = [
    {"tensor": "a", "rank": 0, "top": [["▁hi", 5.0], ["<b>", 4.0]]},
    {"tensor": "b", "rank": 1, "top": [["▁no", 3.0]]},
]


@pytest.fixture
def url(postgres_url: str) -> str:
    """It keeps no order of keys, which SQLite does."""
    return postgres_url


def test_a_list_of_alike_entries_is_a_table_with_where_and_what_in_front() -> None:
    assert columns(DIRECTIONS) == ["tensor", "top", "rank"]
    assert columns([{"b": 1}, {"a": 2}]) == ["a", "b"]
    for other in (
        [],
        [{"a": 1}],
        [{"a": {"b": 1}}, {"a": 2}],
        [1, 2],
        "ab",
        {"a": 1},
        [{str(n): n for n in range(13)}] * 2,
    ):
        assert columns(other) == []


def test_tokens_with_their_scores_are_known_by_their_shape() -> None:
    assert are_pairs([["▁hi", 5.0], ("x", 1)])
    for other in ([], "ab", [["x"]], [[1, "x"]], [["x", 1], "y"], None):
        assert not are_pairs(other)


def test_names_in_backticks_are_code_and_the_rest_stays_text() -> None:
    assert marked("see `audits list` <b>") == "see <code>audits list</code> &lt;b&gt;"
    assert marked("`<script>` and ` alone") == "<code>&lt;script&gt;</code> and ` alone"
    assert "‹U+202E›" in marked("`\u202e`")


def test_a_finding_shows_its_evidence_as_a_table(client: Client, store: Store) -> None:
    audit_of(store, "org/a", evidence={"directions": DIRECTIONS})
    page = client(open_to_all=True).get(f"/findings/{store.findings().items[0].id}").text
    assert re.findall(r'<th scope="col">(\w+)</th>', page) == ["tensor", "top", "rank"]
    assert '<code class="token" title="4">&lt;b&gt;</code>' in page
    assert "its strongest direction" in page


def test_a_large_family_is_shown_by_its_first_and_leads_to_the_rest(client: Client, store: Store) -> None:
    for number in range(30):
        store.sightings.record(ModelRef("hf", f"org/m{number:02}", "c" * 40), base=BASE, source=BaseSource.CARD)
    page = client(open_to_all=True).get("/lineage").text
    assert page.count("base said by the card") == 25
    assert '<a href="/audits?base=hf%3Aorg%2Fbase%40%2A">more that were made from it</a>' in page


def test_times_are_told_from_now_and_to_the_second(client: Client, store: Store) -> None:
    page = client(open_to_all=True).get(f"/audits/{audit_of(store, 'org/a')}").text
    assert re.search(
        r'<time class="ago" datetime="[^"]+" title="\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC">[^<]+ ago</time>', page
    )


def test_one_audit_brings_those_of_its_model_to_compare_it_with(client: Client, store: Store) -> None:
    mine = [audit_of(store, "org/a", revision=letter * 40) for letter in "de"]
    other = audit_of(store, "org/b")
    page = client(open_to_all=True).get(f"/compare?after={mine[1]}").text
    assert f'<option value="{mine[1]}" selected>' in page
    assert f'<option value="{mine[0]}">' in page
    assert other not in page

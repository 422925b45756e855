"""Transfers from the Hub that break or lie: taken up again, or refused, and never anything but what the file holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries.hub import HubRegistry
from tests.planted import WEIGHTS
from tests.registries.hub_http import Answer, Asked
from tests.registries.hub_reading import FIRST, MIB, SECOND, ranges, read
from tests.registries.hub_server import Fault, HubServer


def shifted(right: Answer, asked: Asked) -> Answer:
    """Another range than the one that was asked for."""
    assert isinstance(right.content, tuple)
    path, start, stop = right.content
    label = f"bytes {start - 1}-{stop - 2}/{path.stat().st_size}"
    return Answer(206, (path, start - 1, stop - 1), {"Content-Range": label})


def unlabelled(right: Answer, asked: Asked) -> Answer:
    return Answer(206, right.content, {})


def longer(right: Answer, asked: Asked) -> Answer:
    return Answer(206, right.body + b"x", right.headers)


def compressed(right: Answer, asked: Asked) -> Answer:
    return Answer(206, right.content, {**right.headers, "Content-Encoding": "gzip"})


def of_another_size(right: Answer, asked: Asked) -> Answer:
    label = right.headers["Content-Range"].rpartition("/")[0]
    return Answer(206, right.content, {**right.headers, "Content-Range": f"{label}/999999999"})


def empty(right: Answer, asked: Asked) -> Answer:
    return Answer(204)


@pytest.mark.parametrize("lie", [shifted, unlabelled, longer, compressed, of_another_size, empty])
def test_what_was_not_asked_for_is_refused_and_not_kept(
    lie: Callable[[Answer, Asked], Answer], hub: HubServer, registry: HubRegistry, published: ModelRef, folder: Path
) -> None:
    with registry.open(published) as snapshot:
        hub.misbehave("cdn/*", Fault(alter=lie))
        with pytest.raises(RegistryError, match=rf"org/model.*{WEIGHTS}.*HF_ENDPOINT") as caught:
            read(snapshot, FIRST)
        assert not isinstance(caught.value, RegistryUnavailable)
        assert torch.equal(read(snapshot, FIRST), load_file(folder / WEIGHTS)[FIRST])


def test_a_content_that_changed_on_the_hub_is_refused(
    hub: HubServer, registry: HubRegistry, published: ModelRef
) -> None:
    def other(right: Answer, asked: Asked) -> Answer:
        return Answer(302, b"", {**right.headers, "X-Linked-Etag": f'"{"0" * 64}"'})

    def from_elsewhere(right: Answer, asked: Asked) -> Answer:
        return Answer(302, b"", {**right.headers, "X-Repo-Commit": "1" * 40})

    with registry.open(published) as snapshot:
        for lie, told in ((other, "another content"), (from_elsewhere, "another commit")):
            hub.misbehave("hub/org/model/resolve/*", Fault(alter=lie))
            with pytest.raises(RegistryError, match=told):
                read(snapshot, FIRST)
        assert read(snapshot, FIRST).shape == (1500, 1000)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_small_file_that_does_not_match_its_digest_is_refused(
    name: str, hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    ref = ModelRef("hf", "org/base", hub.push("org/base", base))
    hub.misbehave(
        f"hub/org/base/resolve/*/{name}",
        Fault(alter=lambda right, asked: Answer(200, right.body[:-2] + b" }", right.headers)),
    )
    with pytest.raises(RegistryError, match=rf"{name}.*does not match the digest"), registry.open(ref):
        pass
    with registry.open(ref) as snapshot:
        assert snapshot.config["model_type"] == "llama"


@pytest.mark.parametrize("after", [0, 1, 100_000, 2 * MIB])
def test_a_transfer_that_breaks_off_is_taken_up_where_it_ended(
    after: int, hub: HubServer, registry: HubRegistry, published: ModelRef, folder: Path
) -> None:
    with registry.open(published) as snapshot:
        hub.forget()
        hub.misbehave("cdn/*", Fault(truncate=after), Fault(truncate=after))
        assert torch.equal(read(snapshot, SECOND), load_file(folder / WEIGHTS)[SECOND])
    starts = [int(str(told).removeprefix("bytes=").partition("-")[0]) for told in ranges(hub)]
    assert [start - starts[0] for start in starts] == [0, after, 2 * after]
    assert hub.bytes_sent == 6_000_000


def test_a_small_file_that_breaks_off_is_taken_up_too(hub: HubServer, registry: HubRegistry, base: Path) -> None:
    ref = ModelRef("hf", "org/base", hub.push("org/base", base))
    hub.misbehave("hub/org/base/resolve/*/tokenizer.json", Fault(truncate=100), Fault(truncate=100))
    with registry.open(ref) as snapshot:
        assert (snapshot.path / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_a_whole_file_is_begun_anew_if_the_server_cannot_go_on(
    hub: HubServer, registry: HubRegistry, base: Path
) -> None:
    ref = ModelRef("hf", "org/base", hub.push("org/base", base))
    where = "hub/org/base/resolve/*/tokenizer.json"
    hub.misbehave(where, Fault(truncate=100), Fault(alter=without_ranges))
    with registry.open(ref) as snapshot:
        assert (snapshot.path / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_a_transfer_that_always_breaks_off_is_given_up_as_something_that_passes(
    hub: HubServer, registry: HubRegistry, published: ModelRef
) -> None:
    with registry.open(published) as snapshot:
        hub.always("cdn/*", Fault(truncate=0))
        with pytest.raises(RegistryUnavailable, match=rf"org/model.*{WEIGHTS}"):
            read(snapshot, FIRST)
        hub.heal()
        assert read(snapshot, FIRST).shape == (1500, 1000)


def test_an_outage_that_passes_is_waited_for(hub: HubServer, registry: HubRegistry, published: ModelRef) -> None:
    with registry.open(published) as snapshot:
        hub.misbehave("hub/org/model/resolve/*", Fault(503), Fault(429, {"Retry-After": "1"}))
        assert read(snapshot, FIRST).shape == (1500, 1000)


def test_a_longer_outage_says_how_long(hub: HubServer, registry: HubRegistry, published: ModelRef) -> None:
    with registry.open(published) as snapshot:
        hub.always("hub/org/model/resolve/*", Fault(429, {"RateLimit": '"resolvers";r=0;t=240'}))
        with pytest.raises(RegistryUnavailable) as caught:
            read(snapshot, FIRST)
    assert caught.value.retry_after_s == 240


def test_a_model_that_vanishes_while_it_is_read_says_so(
    hub: HubServer, registry: HubRegistry, published: ModelRef
) -> None:
    with registry.open(published) as snapshot:
        read(snapshot, FIRST)
        hub.remove("org/model")
        with pytest.raises(RegistryError, match="no such model"):
            read(snapshot, SECOND)
        assert read(snapshot, FIRST).shape == (1500, 1000)


def without_ranges(right: Answer, asked: Asked) -> Answer:
    assert isinstance(right.content, tuple)
    path, _, _ = right.content
    headers = {name: value for name, value in right.headers.items() if name != "Content-Range"}
    return Answer(200, (path, 0, path.stat().st_size), headers)


def test_from_a_server_without_ranges_the_whole_file_travels_once(
    hub: HubServer, registry: HubRegistry, published: ModelRef, folder: Path
) -> None:
    hub.always("cdn/*", Fault(alter=without_ranges))
    with registry.open(published) as snapshot:
        for name, values in load_file(folder / WEIGHTS).items():
            assert torch.equal(read(snapshot, name), values)
    assert ranges(hub) == [f"bytes=0-{2**16 - 1}", None]


def test_a_whole_file_that_does_not_match_its_digest_is_refused(
    hub: HubServer, registry: HubRegistry, published: ModelRef, folder: Path
) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    hub.always("cdn/*", Fault(alter=lambda right, asked: Answer(200, bytes(content))))
    with pytest.raises(RegistryError, match="does not match the digest"), registry.open(published):
        pass

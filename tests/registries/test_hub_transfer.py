"""Bytes from the Hub: only what is asked for travels, once, and never anything else than the file holds."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import close_session
from safetensors.torch import load_file, save_file
from torch import Tensor

from registry_auditor.domain import ModelRef
from registry_auditor.errors import AuditorError, RegistryError, RegistryUnavailable
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.hub import HubRegistry
from registry_auditor.weights import Snapshot
from tests.planted import WEIGHTS, llama, save, weight
from tests.registries.hub_http import Answer, Asked
from tests.registries.hub_server import Fault, HubServer

FIRST, SECOND = weight(0, "mlp.up_proj"), weight(1, "mlp.up_proj")
MIB = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of two matrices of 6 MB each, which are two pieces."""
    made = tmp_path / "model"
    made.mkdir()
    save_file({FIRST: torch.randn(1500, 1000), SECOND: torch.randn(1500, 1000)}, made / WEIGHTS)
    (made / "config.json").write_text('{"model_type": "llama"}')
    return made


@pytest.fixture
def published(hub: HubServer, folder: Path) -> ModelRef:
    return ModelRef("hf", "org/model", hub.push("org/model", folder))


def read(snapshot: Snapshot, name: str) -> Tensor:
    return snapshot.matrices[name].read()


def ranges(hub: HubServer) -> list[str | None]:
    return [asked.range for asked in hub.requests if asked.host == "cdn"]


def test_of_the_weights_the_header_and_what_is_read_travels(
    hub: HubServer, registry: HubRegistry, published: ModelRef, folder: Path
) -> None:
    with registry.open(published) as snapshot:
        assert ranges(hub) == [f"bytes=0-{2**16 - 1}"]
        assert torch.equal(read(snapshot, SECOND), load_file(folder / WEIGHTS)[SECOND])
    assert len(ranges(hub)) == 2
    assert hub.bytes_sent < 6_000_000 + 100_000


def test_what_was_read_once_never_travels_again(hub: HubServer, published: ModelRef, cache: Cache) -> None:
    for _ in range(2):
        with HubRegistry(cache=cache).open(published) as snapshot:
            read(snapshot, FIRST)
        travelled, requests = hub.bytes_sent, list(hub.requests)
        hub.always("*", Fault(500))
    assert (hub.bytes_sent, hub.requests) == (travelled, requests)


def test_a_shard_that_did_not_change_travels_once(
    hub: HubServer, registry: HubRegistry, published: ModelRef, folder: Path
) -> None:
    with registry.open(published) as snapshot:
        read(snapshot, FIRST)
    (folder / "README.md").write_text("a new card")
    again = hub.push("org/copy", folder)
    hub.forget()
    with registry.open(ModelRef("hf", "org/copy", again)) as snapshot:
        read(snapshot, FIRST)
    assert ranges(hub) == []


def test_the_client_keeps_its_connections(hub: HubServer, registry: HubRegistry, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    tensors = {weight(layer, "mlp.up_proj"): torch.zeros(1100, 1000) for layer in range(12)}
    save_file(tensors, folder / WEIGHTS)
    ref = ModelRef("hf", "org/many", hub.push("org/many", folder))
    close_session()
    hub.forget()
    with registry.open(ref) as snapshot:
        for name in tensors:
            read(snapshot, name)
    assert len(ranges(hub)) == 13
    assert hub.n_connections == 2, "one to the Hub, one to its store"


def test_the_token_goes_to_the_hub_and_not_to_its_store(
    hub: HubServer, registry: HubRegistry, published: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with registry.open(published) as snapshot:
        read(snapshot, FIRST)
    assert {asked.token for asked in hub.requests if asked.host == "hub"} == {"hf_secret"}
    assert {asked.token for asked in hub.requests if asked.host == "cdn"} == {None}
    assert ranges(hub)[-1] is not None


def test_threads_that_ask_for_one_tensor_fetch_it_once(
    hub: HubServer, registry: HubRegistry, published: ModelRef, folder: Path
) -> None:
    found: list[Tensor] = []
    with registry.open(published) as snapshot:
        threads = [threading.Thread(target=lambda: found.append(read(snapshot, FIRST))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(ranges(hub)) == 2
    assert all(torch.equal(each, load_file(folder / WEIGHTS)[FIRST]) for each in found)
    assert len(found) == 6


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


def test_a_part_that_lost_its_end_on_disk_is_fetched_again(
    hub: HubServer, registry: HubRegistry, published: ModelRef, cache: Cache, folder: Path
) -> None:
    with registry.open(published) as snapshot:
        read(snapshot, FIRST)
    for path in (cache.folder / "entries").glob("*/*"):
        if path.is_file() and path.stat().st_size > MIB:
            path.write_bytes(path.read_bytes()[:-1000])
    with registry.open(published) as snapshot:
        assert torch.equal(read(snapshot, FIRST), load_file(folder / WEIGHTS)[FIRST])


def test_a_model_that_is_larger_than_the_cache_is_read_all_the_same(
    hub: HubServer, published: ModelRef, tmp_path: Path, folder: Path
) -> None:
    registry = HubRegistry(cache=Cache(tmp_path / "small", limit_bytes=MIB))
    with registry.open(published) as snapshot:
        for name, values in [*load_file(folder / WEIGHTS).items()] * 2:
            assert torch.equal(read(snapshot, name), values)


def test_pickled_weights_travel_whole(hub: HubServer, registry: HubRegistry, tmp_path: Path) -> None:
    net = llama()
    folder = save(net, tmp_path / "pickled")
    (folder / WEIGHTS).unlink()
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    ref = ModelRef("hf", "org/pickled", hub.push("org/pickled", folder))
    with registry.open(ref) as snapshot:
        assert torch.equal(read(snapshot, SECOND), net.state_dict()[SECOND])


def test_shards_and_folders_in_the_repository_are_found(hub: HubServer, registry: HubRegistry, tmp_path: Path) -> None:
    net = llama()
    folder = save(net, tmp_path / "sharded", max_shard_size="200KB")
    (folder / "onnx").mkdir()
    shutil.copyfile(next(folder.glob("*.safetensors")), folder / "onnx" / "model.safetensors")
    ref = registry.resolve("org/sharded") if hub.push("org/sharded", folder) else None
    assert ref is not None
    with registry.open(ref) as snapshot:
        assert snapshot.gaps == ()
        assert torch.equal(read(snapshot, SECOND), net.state_dict()[SECOND])


@pytest.mark.parametrize("name", ["../../outside.safetensors", "/etc/outside.safetensors", "a/../../x.safetensors"])
def test_a_file_that_leads_out_of_the_model_is_refused(
    name: str, hub: HubServer, registry: HubRegistry, published: ModelRef
) -> None:
    files = hub.repos["org/model"].commits[str(published.revision)]
    files[name] = files[WEIGHTS]
    with pytest.raises(AuditorError, match="leads out of the model"), registry.open(published):
        pass


def test_a_config_that_would_fill_the_disk_does_not_travel(
    hub: HubServer, registry: HubRegistry, published: ModelRef
) -> None:
    files = hub.repos["org/model"].commits[str(published.revision)]
    files["config.json"] = replace(files["config.json"], size=2**40)
    with pytest.raises(RegistryError, match=r"config\.json.*do not load"), registry.open(published):
        pass
    assert not [asked for asked in hub.requests if asked.path.endswith("config.json")]


def test_an_endpoint_that_lists_no_sizes_is_asked_for_them(
    hub: HubServer, registry: HubRegistry, published: ModelRef, folder: Path
) -> None:
    hub.misbehave(
        "hub/api/models/org/model/revision/*",
        Fault(alter=lambda right, asked: hub.answer_of(f"/api/models/org/model/revision/{published.revision}")),
    )
    with registry.open(published) as snapshot:
        assert torch.equal(read(snapshot, FIRST), load_file(folder / WEIGHTS)[FIRST])
    assert {asked.path.rpartition("/")[2] for asked in hub.requests if asked.method == "HEAD"} == {
        "config.json", WEIGHTS,
    }  # fmt: skip

"""Of the weights on the Hub travels what is asked for, once, whoever asks."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import close_session
from safetensors.torch import load_file, save_file
from torch import Tensor

from registry_auditor.domain import ModelRef
from registry_auditor.errors import AuditorError, RegistryError
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.hub import HubRegistry
from tests.planted import WEIGHTS, llama, save, weight
from tests.registries.hub_reading import FIRST, MIB, SECOND, ranges, read
from tests.registries.hub_server import Fault, HubServer


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


def test_a_model_that_is_larger_than_the_cache_is_read_and_keeps_its_small_files(
    hub: HubServer, published: ModelRef, tmp_path: Path, folder: Path
) -> None:
    registry = HubRegistry(cache=Cache(tmp_path / "small", limit_bytes=7_000_000))
    with registry.open(published) as snapshot:
        for name, values in [*load_file(folder / WEIGHTS).items()] * 2:
            assert torch.equal(read(snapshot, name), values)
        assert len(ranges(hub)) > 3, "one of the two had to go each time"
        assert (snapshot.path / "config.json").exists()


def test_a_listing_that_lost_its_end_on_disk_is_fetched_again(
    registry: HubRegistry, published: ModelRef, cache: Cache
) -> None:
    with registry.open(published):
        pass
    for path in (cache.folder / "entries").glob("*/*"):
        if path.is_file():
            path.write_bytes(b"")
    with registry.open(published) as snapshot:
        assert snapshot.matrices


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

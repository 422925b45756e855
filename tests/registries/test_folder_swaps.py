"""Nobody swaps files under the auditor: what changed is noticed, and what did not is not read twice."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from registry_auditor.errors import RegistryError, RegistryUnavailable, WeightsError
from registry_auditor.registries import FolderRegistry
from registry_auditor.registries.content import content_digest
from registry_auditor.weights import open_snapshot
from tests.planted import WEIGHTS
from tests.registries.folders import model


def test_weights_swapped_under_the_auditor_are_noticed_whatever_their_times_say(tmp_path: Path) -> None:
    folder = model(tmp_path / "one", value=1.0)
    registry = FolderRegistry(tmp_path)
    ref = registry.resolve("one")
    registry.verify(ref)
    before = (folder / WEIGHTS).stat()
    model(folder, value=2.0)
    os.utime(folder / WEIGHTS, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (folder / WEIGHTS).stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(RegistryError, match="is no longer sha256"):
        registry.verify(ref)
    with pytest.raises(RegistryError, match="is no longer sha256"), registry.open(ref):
        pass


def test_weights_replaced_by_a_rename_are_noticed(tmp_path: Path) -> None:
    folder, other = model(tmp_path / "one"), model(tmp_path / "other", value=2.0)
    registry = FolderRegistry(tmp_path)
    ref = registry.resolve("one")
    shutil.copystat(folder / WEIGHTS, other / WEIGHTS)
    (other / WEIGHTS).rename(folder / WEIGHTS)
    with pytest.raises(RegistryError, match="is no longer sha256"):
        registry.verify(ref)


def test_weights_swapped_and_swapped_back_are_noticed(tmp_path: Path) -> None:
    folder, other = model(tmp_path / "one"), model(tmp_path / "other", value=2.0)
    registry = FolderRegistry(tmp_path)
    ref = registry.resolve("one")
    with registry.open(ref):
        registry.verify(ref)
        (folder / WEIGHTS).rename(tmp_path / "aside")
        shutil.copy(other / WEIGHTS, folder / WEIGHTS)
        (tmp_path / "aside").rename(folder / WEIGHTS)
        with pytest.raises(RegistryUnavailable, match=r"model\.safetensors was touched while it was read"):
            registry.verify(ref)
    registry.verify(ref)


def test_a_file_that_is_added_under_the_auditor_is_noticed(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    registry = FolderRegistry(tmp_path)
    ref = registry.resolve("one")
    with registry.open(ref):
        (folder / "adapter_config.json").write_text("{}")
        with pytest.raises(RegistryError):
            registry.verify(ref)


def test_what_has_not_changed_is_not_read_twice(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    (folder / "large.bin").write_bytes(os.urandom(2**22))
    registry = FolderRegistry(tmp_path)
    ref, once = registry.resolve("one"), bytes_read()
    for _ in range(3):
        registry.verify(ref)
        assert [change.model for change in registry.changes()] == [ref]
    assert bytes_read() - once < 2**20
    os.utime(folder / "large.bin")
    registry.verify(ref)
    assert bytes_read() - once > 2**22


def bytes_read() -> int:
    """By this process so far."""
    try:
        return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])
    except OSError:
        return pytest.skip("the system does not count what a process reads")


def test_a_model_that_changes_while_it_is_read_has_no_digest(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    (folder / "large.bin").write_bytes(bytes(2**26))  # takes longer to hash than the writer pauses
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.001):
            (folder / "large.bin").touch()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.05)
        with pytest.raises(RegistryUnavailable, match="changed while it was read"):
            content_digest(folder)
        (change,) = FolderRegistry(tmp_path).changes()
        assert change.problem is not None
    finally:
        stop.set()
        writer.join()


def test_hidden_weights_which_no_digest_covers_are_not_read(tmp_path: Path) -> None:
    folder = model(tmp_path / "one", name=".model.safetensors")
    with pytest.raises(WeightsError, match="holds no weights"), open_snapshot(folder):
        pass
    for listed in (".model.safetensors", ".cache/model.safetensors"):
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"model.norm.weight": listed}}))
        with pytest.raises(WeightsError, match="which is hidden"), open_snapshot(folder):
            pass

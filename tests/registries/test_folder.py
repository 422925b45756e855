"""A directory tree: what in it is a model, when one is ready, and that nobody swaps files under the auditor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable, WeightsError
from registry_auditor.registries import FolderRegistry, resolve
from registry_auditor.registries.content import content_digest
from registry_auditor.registries.folder import SLACK_NS
from registry_auditor.weights import open_snapshot
from tests.planted import WEIGHTS


def model(folder: Path, *, value: float = 1.0, name: str = WEIGHTS) -> Path:
    """A folder with one tensor, which is a model to a registry."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"model.norm.weight": torch.full((8,), value)}, folder / name)
    return folder


def shown(registry: FolderRegistry, since: str | None = None) -> dict[str, str | None]:
    """Each shown path, relative to the root, and its problem."""
    return {
        Path(change.model.name).relative_to(registry.root).as_posix(): change.problem
        for change in registry.changes(since)
    }


def just_after(folder: Path) -> str:
    """The earliest cursor that shows nothing of what lies in `folder` now."""
    newest_ns = max(path.lstat().st_ctime_ns for path in [folder, *folder.rglob("*")])
    time.sleep(0.02)  # two changes within one tick of the clock bear the same time
    return str(newest_ns + SLACK_NS + 1)


def test_every_folder_with_weights_is_a_model_at_any_depth(tmp_path: Path) -> None:
    for name in ("one", "org/two", "org/deep/er/three", "run/checkpoint-100", "run", "@odd:name", "ünïcode"):
        model(tmp_path / name)
    for hidden in (".hidden", "org/.cache/four"):
        model(tmp_path / hidden)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "training_args.bin").write_bytes(b"x")
    registry = FolderRegistry(tmp_path)
    expected = {"one", "org/two", "org/deep/er/three", "run/checkpoint-100", "run", "@odd:name", "ünïcode"}
    assert set(shown(registry)) == expected
    for change in registry.changes():
        assert ModelRef.parse(str(change.model)) == change.model == resolve(change.model.name)


def test_a_checkpoint_inside_a_model_is_part_of_it(tmp_path: Path) -> None:
    run = model(tmp_path / "run")
    registry = FolderRegistry(tmp_path)
    before = registry.resolve("run")
    model(run / "checkpoint-1", value=2.0)
    assert registry.resolve("run").revision != before.revision


def test_a_root_that_holds_weights_is_a_model_itself(tmp_path: Path) -> None:
    model(tmp_path / "root")
    model(tmp_path / "root" / "inner")
    assert set(shown(FolderRegistry(tmp_path / "root"))) == {".", "inner"}


def test_only_what_lies_directly_in_a_flat_registry_belongs_to_it(tmp_path: Path) -> None:
    for name in ("one", "org/two"):
        model(tmp_path / name)
    assert set(shown(FolderRegistry(tmp_path, nested=False))) == {"one"}


def test_weights_that_nobody_reads_are_told(tmp_path: Path) -> None:
    for name in ("gguf/model-q4.gguf", "both/onnx/model.onnx"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"GGUF")
    model(tmp_path / "both")
    registry = FolderRegistry(tmp_path)
    problems = shown(registry)
    assert set(problems) == {"gguf", "both"}, "an export beside a model is not another one"
    assert problems["both"] is None
    assert "model-q4.gguf is GGUF" in (problems["gguf"] or "")
    with pytest.raises(RegistryError, match="holds no weights"):
        registry.resolve("gguf")


def test_links_to_folders_are_not_followed_and_those_to_models_elsewhere_told(tmp_path: Path) -> None:
    elsewhere = model(tmp_path / "elsewhere")
    root = tmp_path / "root"
    one = model(root / "one")
    (root / "latest").symlink_to(one)
    (root / "theirs").symlink_to(elsewhere)
    (one / "around").symlink_to(root)
    (root / "circle").symlink_to(root / "circle")
    (root / "nowhere").symlink_to(tmp_path / "nowhere")
    problems = shown(FolderRegistry(root))
    assert problems == {"one": None, "theirs": f"is a link, which is not followed; watch dir:{elsewhere} as well"}


def test_a_link_to_the_registry_is_the_registry(tmp_path: Path) -> None:
    model(tmp_path / "root" / "one")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert FolderRegistry(tmp_path / "link").spec == FolderRegistry(tmp_path / "root").spec


def test_a_root_that_is_gone_is_no_empty_registry(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="no such folder"):
        list(FolderRegistry(tmp_path / "unmounted").changes())


def test_a_tree_too_deep_to_follow_hides_nothing_else(tmp_path: Path) -> None:
    model(tmp_path / "root" / "zzz")
    here = Path.cwd()
    os.chdir(tmp_path / "root")
    try:
        for _ in range(2500):  # deeper than recursion goes, and than a path can be
            Path("d").mkdir()
            os.chdir("d")
        os.chdir(here)
        problems = shown(FolderRegistry(tmp_path / "root"))
        assert problems.pop("zzz") is None
        ((deep, problem),) = problems.items()
        assert deep.startswith("d/d/d/")
        assert "cannot be read" in (problem or "")
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path / "root" / "d")], check=True)


NOBODY = 65534


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Path]:
    """A folder in which reading can be forbidden; nothing is to root, so that the test is somebody else meanwhile."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_what_may_not_be_read_is_told(unprivileged: Path) -> None:
    model(unprivileged / "one")
    closed, shut = model(unprivileged / "closed"), model(unprivileged / "shut")
    (closed / WEIGHTS).chmod(0)
    shut.chmod(0)
    problems = shown(FolderRegistry(unprivileged))
    for name in ("closed", "shut"):
        with pytest.raises(RegistryError, match="check its permissions"):
            FolderRegistry(unprivileged).resolve(name)
    shut.chmod(0o700)
    assert problems.pop("one") is None
    assert set(problems) == {"closed", "shut"}
    assert all("check its permissions" in (problem or "") for problem in problems.values())


def test_names_that_are_no_utf8_are_told_and_those_of_files_are_no_obstacle(tmp_path: Path) -> None:
    model(Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")))
    good = model(tmp_path / "good")
    Path(os.fsdecode(os.fsencode(good) + b"/note\xff.txt")).write_text("a file with a name of bytes")
    problems = shown(FolderRegistry(tmp_path))
    assert problems == {"good": None, "bad\\xff": problems["bad\\xff"]}
    assert "no UTF-8" in (problems["bad\\xff"] or "")


def test_a_model_is_shown_when_it_has_been_quiet_long_enough(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    registry = FolderRegistry(tmp_path, settle_s=0.4)
    (early,) = registry.changes()
    assert early.problem is not None
    assert "still being written: quiet for 0." in early.problem
    assert "s of 0.4 s" in early.problem
    time.sleep(0.3)
    (folder / "tokenizer.json").write_text("{}")
    (still,) = registry.changes(early.cursor)
    assert still.problem is not None
    time.sleep(0.45)
    (ready,) = registry.changes(still.cursor)
    assert ready.problem is None
    assert ready.model == registry.resolve("one")


def test_no_cursor_passes_what_has_not_settled(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path, settle_s=60)
    model(tmp_path / "one")
    model(tmp_path / "two")
    for change in registry.changes():
        assert change.problem is not None
        assert int(change.cursor or 0) <= time.time_ns() - 60 * 10**9


def test_times_that_people_set_decide_nothing(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path, settle_s=60)
    folder = model(tmp_path / "one")
    for path in (folder, folder / WEIGHTS):
        os.utime(path, (0, 0))
    assert "still being written" in (shown(registry)["one"] or "")
    for path in (folder, folder / WEIGHTS):
        os.utime(path, (2**33, 2**33))
    assert shown(FolderRegistry(tmp_path))["one"] is None


def half_a_file(folder: Path) -> str:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-5])
    return "truncated"


def half_a_header(folder: Path) -> str:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:20])
    return "promises a header of"


def an_empty_file(folder: Path) -> str:
    (folder / WEIGHTS).write_bytes(b"")
    return "0 bytes"


def room_for_a_file(folder: Path) -> str:
    (folder / WEIGHTS).write_bytes(bytes(4096))
    return "nothing is written yet"


def half_a_config(folder: Path) -> str:
    (folder / "config.json").write_text('{"hidden_size": 6')
    return "config.json"


def half_an_adapter_config(folder: Path) -> str:
    (folder / "adapter_config.json").write_text("")
    return "adapter_config.json"


def half_an_index(folder: Path) -> str:
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text('{"weight_map": {"model.norm.weight": "model-')
    return "index.json"


def a_shard_of_the_index(folder: Path) -> str:
    files = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    (folder / WEIGHTS).rename(folder / files[0])
    index = {"weight_map": {f"model.layers.{number}.weight": file for number, file in enumerate(files)}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    return "model-00002-of-00003.safetensors is missing, and 1 more"


def a_shard_without_an_index(folder: Path) -> str:
    (folder / WEIGHTS).rename(folder / "model-00001-of-00003.safetensors")
    return "2 of 3 shards are missing"


def a_partial_file(folder: Path) -> str:
    (folder / WEIGHTS).rename(folder / f"{WEIGHTS}.incomplete")
    return "model.safetensors.incomplete is still there; remove it"


def a_partial_file_beside(folder: Path) -> str:
    (folder / "tokenizer.json.tmp").write_text("{")
    return "tokenizer.json.tmp is still there"


def half_a_pickle(folder: Path) -> str:
    (folder / WEIGHTS).unlink()
    torch.save({"model.norm.weight": torch.ones(4096)}, folder / "pytorch_model.bin")
    content = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(content[: len(content) // 2])
    return "pytorch_model.bin: ends too early"


INCOMPLETE = (
    half_a_file, half_a_header, an_empty_file, room_for_a_file, half_a_config, half_an_adapter_config, half_an_index,
    a_shard_of_the_index, a_shard_without_an_index, a_partial_file, a_partial_file_beside, half_a_pickle,
)  # fmt: skip


@pytest.mark.parametrize("state", INCOMPLETE, ids=lambda state: state.__name__)
def test_an_incomplete_upload_is_told_until_it_is_complete(state: Callable[[Path], str], tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    registry = FolderRegistry(tmp_path)
    told = state(folder)
    (change,) = registry.changes()
    assert change.problem is not None
    assert change.problem.startswith("incomplete: ")
    assert told in change.problem
    assert change.model.revision is None
    shutil.rmtree(folder)
    model(folder)
    assert shown(registry, change.cursor) == {"one": None}


@pytest.mark.parametrize("flaw", ["a shared byte", "a link out", "a bottomless config"])
def test_what_waiting_does_not_mend_is_left_to_the_audit(flaw: str, tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    if flaw == "a shared byte":
        part = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}
        header = json.dumps({"a": part, "b": part}).encode()
        (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    elif flaw == "a link out":
        (folder / WEIGHTS).rename(tmp_path / "secret")
        (folder / WEIGHTS).symlink_to(tmp_path / "secret")
    else:
        (folder / "config.json").write_text("[" * 100_000)
    (change,) = FolderRegistry(tmp_path).changes()
    assert change.problem is None
    with pytest.raises(WeightsError), FolderRegistry(tmp_path).open(change.model):
        pass


def test_a_cursor_shows_what_was_touched_since_and_nothing_else(tmp_path: Path) -> None:
    one = model(tmp_path / "one")
    model(tmp_path / "two")
    registry, cursor = FolderRegistry(tmp_path), just_after(tmp_path)
    assert shown(registry, cursor) == {}
    (one / "README.md").write_text("a card")
    os.utime(one / "README.md", (0, 0))
    assert shown(registry, cursor) == {"one": None}


def test_what_is_removed_from_a_model_is_a_change(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    (folder / "README.md").write_text("a card")
    cursor = just_after(tmp_path)
    (folder / "README.md").unlink()
    assert shown(FolderRegistry(tmp_path), cursor) == {"one": None}


@pytest.mark.parametrize("place", ["staged/org/one", "staged/one"])
def test_a_model_that_is_moved_in_is_new_however_old_its_files_are(place: str, tmp_path: Path) -> None:
    model(tmp_path / place)
    root = tmp_path / "root"
    root.mkdir()
    cursor = just_after(tmp_path / "staged")
    (moved,) = (tmp_path / "staged").iterdir()
    moved.rename(root / moved.name)
    assert len(shown(FolderRegistry(root), cursor)) == 1


def test_another_model_of_the_same_folder_does_not_repeat_its_neighbours(tmp_path: Path) -> None:
    model(tmp_path / "org" / "one")
    cursor = just_after(tmp_path)
    model(tmp_path / "org" / "two")
    assert set(shown(FolderRegistry(tmp_path), cursor)) == {"org/two"}


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


@pytest.fixture
def family(tmp_path: Path) -> FolderRegistry:
    """Several that could be meant by one name."""
    for number, name in enumerate(("a/base", "b/base", "b/tuned", "c/tuned", "org/c/llama", "x/c/llama", "solo")):
        model(tmp_path / name, value=number)
    model(tmp_path / "b" / "tuned" / "inside", value=99)
    return FolderRegistry(tmp_path)


@pytest.mark.parametrize(
    ("claimed", "by", "found"),
    [
        ("a/base", "b/tuned", "a/base"),
        ("./a/base/", "b/tuned", "a/base"),
        ("base", "b/tuned", "b/base"),  # the one beside it
        ("hub-org/base", "b/tuned", "b/base"),
        ("org/c/llama", "b/tuned", "org/c/llama"),
        ("elsewhere/org/c/llama", "b/tuned", "org/c/llama"),  # agrees in most parts
        ("C:\\work\\solo", "b/tuned", "solo"),
        ("../../solo", "b/tuned", "solo"),
        ("inside", "b/tuned", None),
        ("b/tuned/inside", "b/tuned", None),
        ("b/tuned", "b/tuned", None),
        ("some/tuned", "b/tuned", "c/tuned"),
        ("tuned", "b/tuned", "c/tuned"),
        (".", "solo", None),
        ("..", "solo", None),
        ("", "solo", None),
        ("x" * 5000, "solo", None),
        ("a\0b", "solo", None),
        ("b", "solo", None),  # a folder, and no model
    ],
)
def test_a_claimed_base_is_looked_for_by_its_whole_name_first(
    claimed: str, by: str, found: str | None, family: FolderRegistry
) -> None:
    expected = family.resolve(found) if found else None
    assert family.find(claimed, of=family.resolve(by)) == expected
    list(family.changes())
    assert family.find(claimed, of=family.resolve(by)) == expected, "it is the same after a look at all of them"


def test_a_name_that_could_mean_several_is_not_guessed(family: FolderRegistry) -> None:
    with pytest.raises(RegistryError, match=r"base could be each of a/base, b/base; choose with --base"):
        family.find("some/base", of=family.resolve("solo"))
    with pytest.raises(RegistryError, match="org/c/llama, x/c/llama"):
        family.find("c/llama", of=ModelRef("hf", "org/tuned", "0" * 40))


def test_a_base_that_is_removed_is_no_longer_found(family: FolderRegistry) -> None:
    list(family.changes())
    shutil.rmtree(family.root / "solo")
    assert family.find("solo", of=family.resolve("b/tuned")) is None


def test_the_claim_of_a_folder_is_read_from_its_files(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    (folder / "config.json").write_text(json.dumps({"_name_or_path": "org/base"}))
    claim = FolderRegistry(tmp_path).claim(resolve(str(folder)))
    assert claim is not None
    assert (claim.name, claim.source) == ("org/base", BaseSource.CONFIG)


def test_a_path_that_no_database_could_index_is_listed_and_stops_nothing(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["d" * 200] * 6), "model")
    model(deep)
    model(tmp_path / "short")
    found = {change.model.name: change.problem for change in FolderRegistry(tmp_path).changes()}
    assert found.pop(str(tmp_path / "short")) is None
    ((name, problem),) = found.items()
    assert len(name.encode()) <= 1024
    assert "longer than 1024 bytes" in (problem or "")

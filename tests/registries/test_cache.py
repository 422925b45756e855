"""What the cache hands out is complete, fetched once however many ask, and never outgrows its limit for long."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_auditor.errors import RegistryError
from registry_auditor.registries.cache import ABANDONED_AFTER_S, Cache


def writing(content: bytes) -> Callable[[Path], None]:
    def fetch(path: Path) -> None:
        path.write_bytes(content)

    return fetch


def never(path: Path) -> None:
    raise AssertionError("it is there already")


def leftovers(cache: Cache) -> list[str]:
    return [path.name for path in (cache.folder / "partial").iterdir()]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", limit_bytes=1000)


def test_what_was_fetched_is_there_without_fetching_again(cache: Cache) -> None:
    path = cache.file("one", writing(b"x"))
    assert cache.file("one", never) == path
    assert Cache(cache.folder).file("one", never).read_bytes() == b"x"
    assert leftovers(cache) == []


def test_what_is_forgotten_is_fetched_again(cache: Cache) -> None:
    assert cache.known("one") is None
    cache.forget("one")
    path = cache.file("one", writing(b"x"))
    assert cache.known("one") == path
    cache.forget("one")
    assert cache.known("one") is None
    assert cache.file("one", writing(b"y")).read_bytes() == b"y"


def test_keys_are_no_paths(cache: Cache) -> None:
    for key in ("../../outside", "/etc/passwd", "a" * 5000, "", "nul\0"):
        assert cache.file(key, writing(key.encode())).is_relative_to(cache.folder)
        assert cache.file(key, never).read_bytes() == key.encode()


def test_a_folder_is_filled_once(cache: Cache) -> None:
    def fill(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")

    path = cache.folder_of("one", fill)
    assert (path / "deep" / "file").read_text() == "x"
    assert cache.folder_of("one", never) == path


def test_a_transfer_that_breaks_leaves_nothing(cache: Cache) -> None:
    def breaks(path: Path) -> None:
        path.write_bytes(b"half")
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        cache.file("one", breaks)
    assert cache.file("one", writing(b"whole")).read_bytes() == b"whole"
    assert leftovers(cache) == []


def test_threads_that_ask_together_fetch_once(cache: Cache) -> None:
    fetched = []

    def slow(path: Path) -> None:
        fetched.append(path)
        time.sleep(0.05)
        path.write_bytes(b"x" * 10)

    seen: list[bytes] = []
    threads = [threading.Thread(target=lambda: seen.append(cache.file("one", slow).read_bytes())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert seen == [b"x" * 10] * 8


SLOW = """
import sys, time
from pathlib import Path
from registry_auditor.registries.cache import Cache
def slow(path):
    print("fetched", flush=True)
    time.sleep(0.3)
    path.write_bytes(b"x")
print(Cache(Path(sys.argv[1])).file("one", slow).read_bytes())
"""


def test_processes_that_ask_together_fetch_once(cache: Cache) -> None:
    command = [sys.executable, "-c", SLOW, str(cache.folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert sum("fetched" in each for each in said) == 1
    assert all("b'x'" in each for each in said)


def test_what_was_not_asked_for_the_longest_goes_first(cache: Cache) -> None:
    paths = {name: cache.file(name, writing(b"x" * 300)) for name in "abc"}
    for age_s, name in ((30, "b"), (20, "c"), (10, "a")):
        os.utime(paths[name], (time.time() - age_s,) * 2)
    cache.file("b", never)  # was the oldest
    cache.file("d", writing(b"x" * 300))
    assert [name for name in "abc" if paths[name].exists()] == ["a", "b"]


def test_of_what_was_asked_for_at_the_same_time_the_larger_goes_first(cache: Cache) -> None:
    small, large = cache.file("small", writing(bytes(100))), cache.file("large", writing(bytes(800)))
    for path in (small, large):
        os.utime(path, (1, 1))
    cache.file("another", writing(bytes(500)))
    assert small.exists()
    assert not large.exists()


def test_what_was_just_asked_for_stays_even_if_it_is_larger_than_the_limit(cache: Cache) -> None:
    cache.file("small", writing(b"x"))
    large = cache.file("large", writing(b"x" * 5000))
    assert large.stat().st_size == 5000
    assert cache.file("small", writing(b"again")).read_bytes() == b"again"


def test_folders_count_with_all_they_hold_and_go_whole(cache: Cache) -> None:
    def fill(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"x" * 900)

    folder = cache.folder_of("folder", fill)
    os.utime(folder, (time.time() - 60,) * 2)
    cache.file("file", writing(b"x" * 200))
    assert not folder.exists()
    assert leftovers(cache) == []


def test_what_a_dead_process_left_is_cleared_away(cache: Cache) -> None:
    partials = cache.folder / "partial"
    partials.mkdir(parents=True)
    for name, age_s in (("old", ABANDONED_AFTER_S + 60), ("young", 60)):
        (partials / name).write_bytes(b"half")
        os.utime(partials / name, (time.time() - age_s,) * 2)
    cache.file("one", writing(b"x"))
    assert leftovers(cache) == ["young"]


def test_a_full_disk_is_named_with_what_to_do(cache: Cache) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RegistryError, match=r"disk is full.*cache_gib"):
        cache.file("one", full)
    assert all(name.endswith(".lock") for name in leftovers(cache))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RegistryError, match=r"taken.*`cache`"):
        Cache(tmp_path / "taken").file("one", writing(b"x"))

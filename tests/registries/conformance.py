"""What every registry promises, as one suite: a kind of registry is tested by a subclass that gives it a world.

class TestHub(RegistryPromises):
    @pytest.fixture
    def world(self, hub_server) -> World: ...
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from safetensors.torch import load_file

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import AuditorError, RegistryError
from registry_auditor.registries import Change, Registry
from registry_auditor.weights import Snapshot
from tests.planted import WEIGHTS, add_rank_one, fine_tune, weight

SEEN = weight(1, "mlp.down_proj")
"""The tensor by which the fine-tunes of this suite differ."""


class World(Protocol):
    """A real registry with nothing in it, and what people do to it from outside."""

    def publish(self, name: str, folder: Path) -> str:
        """Upload the files of `folder` as the model `name`, or as its newest revision; what the registry calls it."""

    def remove(self, name: str) -> None:
        """Remove the model that was published as `name`."""

    def registry(self) -> Registry:
        """A new client that watches all of it."""


class RegistryPromises:
    """Each test begins with an empty registry. A subclass has a fixture `world`."""

    @pytest.fixture
    def uploads(self, base: Path, tmp_path: Path) -> Callable[..., Path]:
        """A function that makes a folder to publish: a fine-tune that claims `claimed` as its base."""
        made = iter(range(1000))

        def make(claimed: str | None = None) -> Path:
            number = next(made)
            folder = tmp_path / "uploads" / str(number)
            folder.parent.mkdir(exist_ok=True)
            fine_tune(base, folder, lambda tensors: add_rank_one(tensors[SEEN], seed=number))
            config = json.loads((folder / "config.json").read_text())
            config.pop("_name_or_path", None)
            (folder / "config.json").write_text(json.dumps(config))
            if claimed is not None:
                (folder / "README.md").write_text(f"---\nbase_model: {claimed}\n---\n# A model\n")
            return folder

        return make

    def test_an_empty_registry_shows_nothing(self, world: World) -> None:
        assert list(world.registry().changes()) == []

    def test_everything_is_shown_without_a_cursor(self, world: World, uploads: Callable[..., Path]) -> None:
        names = [world.publish(name, uploads()) for name in ("one", "two", "three")]
        shown = list(world.registry().changes())
        assert refs(shown) == {world.registry().resolve(name) for name in names}
        assert all(change.problem is None and change.cursor for change in shown)

    def test_what_is_published_after_a_cursor_is_shown_from_it(
        self, world: World, uploads: Callable[..., Path]
    ) -> None:
        world.publish("one", uploads())
        cursor = last_cursor(world.registry().changes())
        second = world.publish("two", uploads())
        changes = list(world.registry().changes(cursor))
        assert world.registry().resolve(second) in refs(changes)
        later = list(world.registry().changes(last_cursor(changes)))
        assert refs(later) <= refs(changes), "a later cursor shows no more than an earlier one"

    def test_a_new_revision_is_shown_from_the_cursor_before_it(
        self, world: World, uploads: Callable[..., Path]
    ) -> None:
        name = world.publish("one", uploads())
        before = world.registry().resolve(name)
        cursor = last_cursor(world.registry().changes())
        world.publish("one", uploads())
        after = world.registry().resolve(name)
        assert after.revision != before.revision
        assert after in refs(world.registry().changes(cursor))

    def test_every_cursor_on_the_way_misses_nothing_that_comes_after_it(
        self, world: World, uploads: Callable[..., Path]
    ) -> None:
        for name in ("one", "two", "three"):
            world.publish(name, uploads())
        changes = list(world.registry().changes())
        for number, change in enumerate(changes):
            assert refs(changes[number + 1 :]) <= refs(world.registry().changes(change.cursor))

    def test_asking_twice_from_one_cursor_gives_the_same(self, world: World, uploads: Callable[..., Path]) -> None:
        world.publish("one", uploads())
        cursor = last_cursor(world.registry().changes())
        world.publish("two", uploads())
        assert refs(world.registry().changes(cursor)) == refs(world.registry().changes(cursor))

    def test_what_was_removed_is_neither_shown_nor_found(self, world: World, uploads: Callable[..., Path]) -> None:
        name = world.publish("one", uploads())
        world.publish("two", uploads())
        world.remove("one")
        assert len(refs(world.registry().changes())) == 1
        with pytest.raises(RegistryError):
            world.registry().resolve(name)

    def test_a_name_means_the_same_revision_until_its_content_changes(
        self, world: World, uploads: Callable[..., Path]
    ) -> None:
        name = world.publish("one", uploads())
        ref = world.registry().resolve(name)
        assert ref.revision
        assert ref == world.registry().resolve(name) == ModelRef.parse(str(ref))
        assert ref == world.registry().resolve(name, ref.revision)

    def test_what_is_opened_is_what_was_published(self, world: World, uploads: Callable[..., Path]) -> None:
        folder = uploads()
        registry = world.registry()
        ref = registry.resolve(world.publish("one", folder))
        with registry.open(ref) as snapshot:
            registry.verify(ref)
            assert holds(snapshot, folder)

    def test_an_old_revision_opens_as_it_was_or_not_at_all(self, world: World, uploads: Callable[..., Path]) -> None:
        old_folder = uploads()
        old = world.registry().resolve(world.publish("one", old_folder))
        world.publish("one", uploads())
        registry, told = world.registry(), ""
        try:
            with registry.open(old) as snapshot:
                assert holds(snapshot, old_folder)
                registry.verify(old)
        except RegistryError as error:
            told = str(error)
        assert not told or old.name in told

    def test_the_card_says_what_the_base_is(self, world: World, uploads: Callable[..., Path]) -> None:
        registry = world.registry()
        claim = registry.claim(registry.resolve(world.publish("one", uploads("some-org/some-base"))))
        assert claim is not None
        assert (claim.name, claim.source) == ("some-org/some-base", BaseSource.CARD)
        assert registry.claim(registry.resolve(world.publish("two", uploads()))) is None

    def test_a_base_of_the_same_registry_is_found_by_its_name(self, world: World, uploads: Callable[..., Path]) -> None:
        base_name = world.publish("the-base", uploads())
        registry = world.registry()
        tuned = registry.resolve(world.publish("tuned", uploads(base_name)))
        claim = registry.claim(tuned)
        assert claim is not None
        assert registry.find(claim.name, of=tuned) == registry.resolve(base_name)

    def test_a_base_that_is_not_there_is_not_found(self, world: World, uploads: Callable[..., Path]) -> None:
        registry = world.registry()
        tuned = registry.resolve(world.publish("tuned", uploads()))
        assert registry.find("no-such-org/no-such-base", of=tuned) is None

    @pytest.mark.parametrize("strange", ["no-such-model", "a b", "..", "", "org/no/such", "x" * 300, "no\0where", "é"])
    def test_a_strange_name_is_an_error_that_says_so(self, world: World, strange: str) -> None:
        with pytest.raises(AuditorError):
            world.registry().resolve(strange)

    def test_a_revision_that_does_not_exist_is_an_error(self, world: World, uploads: Callable[..., Path]) -> None:
        name = world.publish("one", uploads())
        with pytest.raises(RegistryError):
            world.registry().resolve(name, "no-such-revision")

    def test_a_model_without_weights_is_told_and_never_opened(self, world: World, uploads: Callable[..., Path]) -> None:
        folder = uploads("org/base")
        (folder / WEIGHTS).unlink()
        name = world.publish("empty", folder)
        with pytest.raises(RegistryError, match="weights"):
            world.registry().resolve(name)
        assert all(change.problem for change in world.registry().changes())

    def test_a_spec_says_which_kind_of_registry_it_is(self, world: World, uploads: Callable[..., Path]) -> None:
        registry = world.registry()
        ref = registry.resolve(world.publish("one", uploads()))
        assert registry.spec.startswith(f"{ref.registry}:")


def refs(changes: Any) -> set[ModelRef]:
    """The models of `changes`."""
    return {change.model for change in changes}


def last_cursor(changes: Any) -> str:
    """Where to go on after all of `changes`."""
    shown: list[Change] = list(changes)
    cursor = shown[-1].cursor
    assert cursor is not None
    return cursor


def holds(snapshot: Snapshot, folder: Path) -> bool:
    """Whether `snapshot` has the very numbers of the file in `folder`."""
    published = load_file(folder / WEIGHTS)[SEEN].float()
    return torch.equal(snapshot.matrices[SEEN].read(), published)

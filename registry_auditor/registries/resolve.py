"""From what a person types, or a card claims, to one immutable revision; and from there to weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError, UsageError, WeightsError
from registry_auditor.registries import folder, hub
from registry_auditor.registries.claims import Claim, claimed_base
from registry_auditor.weights import Snapshot

OPENERS = {"dir": folder.open_model, "hf": hub.open_model}


def resolve(target: str) -> ModelRef:
    """The revision that `target` means now: a folder, `dir:FOLDER` or `hf:org/name[@revision]`.

    Raises:
        UsageError: for a registry that is not known.
        RegistryError: if the registry has no such model, or cannot be reached.
    """
    scheme, colon, rest = target.partition(":")
    if not colon or len(scheme) == 1 or Path(target).is_dir():  # C:\models is a path too
        return folder.resolve(target)
    if scheme == "dir":
        return folder.resolve(rest)
    if scheme == "hf":
        name, _, revision = rest.removeprefix("//").partition("@")
        return hub.resolve(name, revision or None)
    raise UsageError(f"{target}: unknown registry {scheme!r}; pass a folder or hf:org/name[@revision]")


@contextmanager
def open_model(ref: ModelRef) -> Iterator[Snapshot]:
    """The weights of a resolved `ref`, open until the context ends.

    Raises RegistryError if they cannot be fetched, WeightsError, which says whose they are, if they are broken.
    """
    with ExitStack() as stack:
        try:
            snapshot = stack.enter_context(OPENERS[ref.registry](ref))
        except WeightsError as error:
            if ref.name in str(error):
                raise
            raise WeightsError(f"{ref.registry}:{ref.name}: {error}") from error
        yield snapshot


def claim_of(ref: ModelRef) -> Claim | None:
    """The base that a resolved `ref` says it has, if it says so. Raises RegistryError or WeightsError like opening."""
    return claimed_base(Path(ref.name) if ref.registry == "dir" else hub.folder(ref))


def resolve_claim(model: ModelRef, claim: Claim) -> ModelRef:
    """The base that `model` claims to have: a folder beside it, a folder of that path, or a model of the Hub.

    Raises RegistryError if it is nowhere to be found, or is the model itself; the message says to pass --base.
    """
    try:
        base = _local(Path(model.name), Path(claim.name)) if model.registry == "dir" else None
        base = base or hub.resolve(claim.name, None)
    except RegistryError as error:
        raise RegistryError(f"the {claim.source} names {claim.name} as base: {error}; or pass --base") from error
    if (base.registry, base.name) == (model.registry, model.name):
        raise RegistryError(f"the {claim.source} names the model itself, {claim.name}, as base; pass --base")
    return base


def _local(model: Path, claimed: Path) -> ModelRef | None:
    beside = folder.sibling(model, str(claimed))
    if beside is not None:
        return folder.resolve(str(beside))
    elsewhere = (
        claimed.is_absolute() and claimed.is_dir() and model not in (claimed.resolve(), *claimed.resolve().parents)
    )
    return folder.resolve(str(claimed)) if elsewhere else None

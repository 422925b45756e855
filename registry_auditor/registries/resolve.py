"""From what a person types, a setting names, or a card claims, to one immutable revision; and from there to weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_data_path

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable, UsageError, WeightsError
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.claims import Claim
from registry_auditor.registries.folder import FolderRegistry, reference
from registry_auditor.registries.registry import Registry
from registry_auditor.registries.tree import is_folder
from registry_auditor.weights import Snapshot


def watched(spec: str, *, cache: Cache | None = None, settle_s: float = 0) -> Registry:
    """The registry that a setting names: `dir:FOLDER`, `hf:AUTHOR`, `hf:base_model:ORG/NAME` or `mlflow:[URL]`.

    Nothing is asked of it yet. Raises UsageError for one that is not known, or needs a package that is not installed.
    """
    scheme, colon, rest = spec.partition(":")
    if not colon or len(scheme) == 1:  # C:\models
        raise UsageError(f"{spec}: names no registry; for a folder write dir:{spec}")
    if scheme == "dir":
        return FolderRegistry(Path(rest), settle_s=settle_s)
    return _remote(scheme, spec)(rest, cache or _default_cache())


def home(ref: ModelRef, *, cache: Cache | None = None) -> Registry:
    """The registry that opens the resolved `ref`; of a folder, the folder around it, searched one level deep.

    Raises UsageError like `watched`.
    """
    if ref.registry == "dir":
        return FolderRegistry(Path(ref.name).parent, nested=False)
    return _remote(ref.registry, str(ref))("", cache or _default_cache())


def resolve(target: str, *, cache: Cache | None = None) -> ModelRef:
    """The revision that `target` means now: a folder, `hf:org/name[@revision]`, `mlflow:name[@version]`, or a ModelRef.

    Raises:
        UsageError: for a registry that is not known.
        RegistryError: if the registry has no such model, or cannot be reached.
    """
    scheme, colon, rest = target.partition(":")
    if not colon or len(scheme) == 1 or is_folder(Path(target)):  # C:\models is a path too
        return reference(Path(target))
    name, at, revision = rest.removeprefix("//").rpartition("@")
    if scheme == "dir":
        pinned = at and revision.startswith("sha256:") and not is_folder(Path(rest))
        return reference(Path(name), revision) if pinned else reference(Path(rest))
    registry = _remote(scheme, target)("", cache or _default_cache())
    return registry.resolve(name, revision or None) if at else registry.resolve(revision)


@contextmanager
def open_model(ref: ModelRef, *, cache: Cache | None = None) -> Iterator[Snapshot]:
    """The weights of a resolved `ref`, open until the context ends.

    Raises RegistryError if they cannot be fetched or are others by now, WeightsError, which says whose they are, if
    they are broken.
    """
    with ExitStack() as stack:
        try:
            snapshot = stack.enter_context(home(ref, cache=cache).open(ref))
        except WeightsError as error:
            if ref.name in str(error):
                raise
            raise WeightsError(f"{ref.registry}:{ref.name}: {error}") from error
        yield snapshot


def verify(ref: ModelRef, *, cache: Cache | None = None) -> None:
    """Raise RegistryError if what lies there is not, or was not all the time since it was opened, what `ref` says."""
    home(ref, cache=cache).verify(ref)


def claim_of(ref: ModelRef, *, cache: Cache | None = None) -> Claim | None:
    """The base that a resolved `ref` says it has, if it says so. Raises RegistryError or WeightsError like opening."""
    return home(ref, cache=cache).claim(ref)


SELF_NAMED = ("dir", "hf")
"""Where a model that names its own name means itself; in MLflow, an earlier version may well be the base."""


def resolve_claim(
    model: ModelRef, claim: Claim, *, cache: Cache | None = None, among: Sequence[Registry] = ()
) -> ModelRef:
    """The base that `model` claims: the folder of that path, of its own registry, of those in `among`, or of the Hub.

    What an adapter says it was trained on is taken at the revision that it names, if that is a model of the Hub.

    Raises RegistryError if it is nowhere to be found, several could be meant, or it is the model itself; the message
    says to pass --base.
    """
    told = f"the {claim.source} names"
    try:
        base = _claimed(model, claim, cache or _default_cache(), among)
    except RegistryUnavailable as error:
        reason = f"{told} {claim.name} as base: {error}; or pass --base"
        raise RegistryUnavailable(reason, retry_after_s=error.retry_after_s) from error
    except RegistryError as error:
        raise RegistryError(f"{told} {claim.name} as base: {error}; or pass --base") from error
    if base == model or (base.registry in SELF_NAMED and (base.registry, base.name) == (model.registry, model.name)):
        raise RegistryError(f"{told} the model itself, {claim.name}, as base; pass --base")
    return base


def _claimed(model: ModelRef, claim: Claim, cache: Cache, among: Sequence[Registry]) -> ModelRef:
    path = Path(claim.name)
    # Of a model that came from elsewhere, a path is one of the machine that it was trained on.
    if model.registry == "dir" and path.is_absolute() and is_folder(path) and not _holds(path.resolve(), model):
        return reference(path)
    hub = _hub("", cache)
    for registry in _in_order(model, cache, among):
        found = registry.find(claim.name, of=model)
        if found is not None:
            return hub.resolve(found.name, claim.revision) if found.registry == "hf" and claim.revision else found
    if claim.name.startswith(("mlflow:", "models:/")):
        raise RegistryError("no registry that is watched has it")
    return hub.resolve(claim.name.removeprefix("hf:"), claim.revision)


def _in_order(model: ModelRef, cache: Cache, among: Sequence[Registry]) -> list[Registry]:
    """The watched folder that `model` lies in, the innermost first, else the one around it; then the others."""
    around = [each for each in among if isinstance(each, FolderRegistry) and each.holds(model)]
    around.sort(key=lambda registry: len(registry.root.parts), reverse=True)
    own: list[Registry] = [*around] or [home(model, cache=cache)]
    return own + [each for each in among if each not in own]


def _holds(path: Path, model: ModelRef) -> bool:
    return Path(model.name) in (path, *path.parents)


def _hub(selector: str, cache: Cache) -> Registry:
    from registry_auditor.registries.hub import HubRegistry

    return HubRegistry(selector, cache=cache)


def _mlflow(tracking_uri: str, cache: Cache) -> Registry:
    if find_spec("mlflow") is None:
        raise UsageError("models of MLflow need its client; pip install 'registry-auditor[mlflow]'")
    from registry_auditor.registries.mlflow import MlflowRegistry

    return MlflowRegistry(tracking_uri or None, cache=cache)


REMOTE: Mapping[str, Callable[[str, Cache], Registry]] = {"hf": _hub, "mlflow": _mlflow}
"""What makes a registry of what follows the colon. Their clients are slow to import, so that this waits for a need."""


def _remote(scheme: str, text: str) -> Callable[[str, Cache], Registry]:
    if scheme in REMOTE:
        return REMOTE[scheme]
    near = get_close_matches(scheme.lower(), ["dir", *REMOTE], n=1)
    remedy = f"did you mean {near[0]}:?" if near else "pass a folder, hf:org/name[@revision] or mlflow:name[@version]"
    raise UsageError(f"{text}: unknown registry {scheme!r}; {remedy}")


def _default_cache() -> Cache:
    return Cache(user_data_path("registry-auditor", appauthor=False) / "cache" / "models")

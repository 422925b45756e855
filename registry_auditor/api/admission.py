"""Which models somebody may ask to have audited: those that a configured registry shows, and no path or address else.

The server opens nothing: a worker does, later, and what is not admitted here it never hears of.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from registry_auditor.config import Settings
from registry_auditor.domain import ModelRef
from registry_auditor.errors import UsageError
from registry_auditor.store import Store

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
REVISION = re.compile(r"[A-Za-z0-9][\w.:/-]{0,199}", re.ASCII)
FOLDER = re.compile(r"/[^\x00-\x1f\x7f]{0,4095}")
MLFLOW_NAME = re.compile(r"[^/:@\x00-\x1f\x7f]{1,256}")


def admitted(store: Store, settings: Settings, text: str) -> ModelRef:
    """The model that `text` names, perhaps without a revision.

    Raises UsageError, which says what setting would admit it, unless a configured registry can show it.
    """
    try:
        ref = ModelRef.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if ref.registry not in ADMISSIONS:
        raise UsageError(f"unknown registry {ref.registry[:50]!r}; known: {', '.join(ADMISSIONS)}")
    if ref.revision is not None and not (REVISION.fullmatch(ref.revision) and ".." not in ref.revision):
        raise UsageError(f"{ref.revision[:200]!r} is no revision; pass a commit, branch, version or digest")
    return ADMISSIONS[ref.registry](store, settings, ref)


def _folder(store: Store, settings: Settings, ref: ModelRef) -> ModelRef:
    # Links are followed: what is inside by name may be outside.
    folder = Path(os.path.realpath(ref.name)) if FOLDER.fullmatch(ref.name) else None
    if folder is None or not any(folder.is_relative_to(watched) for watched in watched_folders(settings)):
        raise _stranger(ref, "dir:FOLDER, a folder around it")
    return ModelRef("dir", str(folder), ref.revision)


def _hub(store: Store, settings: Settings, ref: ModelRef) -> ModelRef:
    if not HUB_NAME.fullmatch(ref.name) or ".." in ref.name:
        raise UsageError(f"{ref.name[:200]!r} is no name of a model; write hf:org/name")
    author = ref.name.partition("/")[0]
    watched = {spec.partition(":")[2] for spec in settings.registries if spec.startswith("hf:")}
    if author not in watched and ref.name not in watched and not _shown(store, settings, ref):
        raise _stranger(ref, f"hf:{author} or hf:{ref.name}")
    return ref


def _mlflow(store: Store, settings: Settings, ref: ModelRef) -> ModelRef:
    if not MLFLOW_NAME.fullmatch(ref.name):
        raise UsageError(f"{ref.name[:200]!r} is no name of a registered model; write mlflow:name@version")
    if not any(spec.startswith("mlflow:") for spec in settings.registries):
        raise _stranger(ref, "mlflow:URL")
    return ref


ADMISSIONS: Mapping[str, Callable[[Store, Settings, ModelRef], ModelRef]] = {
    "dir": _folder,
    "hf": _hub,
    "mlflow": _mlflow,
}


def watched_folders(settings: Settings) -> tuple[Path, ...]:
    """The folders among the watched registries."""
    specs = (spec.partition(":") for spec in settings.registries)
    return tuple(Path(path).expanduser().resolve() for scheme, _, path in specs if scheme == "dir")


def _shown(store: Store, settings: Settings, ref: ModelRef) -> bool:
    """Whether a registry that is still watched has shown it: those of a base are known by what they showed."""
    seen = store.sightings.list(model_glob=f"{ref.registry}:{ref.name}@*", limit=10).items
    return any(each.registry in settings.registries for each in seen)


def _stranger(ref: ModelRef, remedy: str) -> UsageError:
    return UsageError(
        f"no watched registry shows {ref.registry}:{ref.name[:300]}; "
        f"add {remedy}, to the setting registries of the server"
    )

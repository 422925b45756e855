"""The configured hooks, each with the secrets that open it."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from registry_auditor.api.signatures import GENUINE, weakness
from registry_auditor.config import Hook, Settings
from registry_auditor.errors import UsageError


@dataclass(frozen=True)
class Door:
    """One hook: who may come in, and where to look when a delivery names no model."""

    hook: str
    source: str
    secrets: tuple[str, ...]
    registry: str | None
    """None: at all registries that are watched."""

    def opens(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the sender knows one of the secrets. Nothing is parsed."""
        return GENUINE[self.source](self.secrets, headers, body)


Doors = Mapping[tuple[str, str], Door]
"""By source and hook id."""


def doors(settings: Settings) -> Doors:
    """The hooks of the settings, with their secrets from the environment.

    Raises UsageError, which names every fault, if a secret is missing or too weak to be one.
    """
    faults = [fault for name, hook in settings.hooks.items() for fault in _faults(name, hook, settings)]
    if faults:
        raise UsageError("; ".join(faults))
    return {
        (hook.source, name): Door(name, hook.source, tuple(os.environ[each] for each in hook.secret_env), hook.registry)
        for name, hook in settings.hooks.items()
    }


def wall(source: str) -> Door:
    """What stands where there is no hook: it looks like a door, and nobody has the secret."""
    return Door("", source if source in GENUINE else "standard", (secrets.token_hex(),), None)


def _faults(name: str, hook: Hook, settings: Settings) -> Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        yield f"hook {name!r} cannot be part of an address; call it by letters, digits, '-', '_' and '.'"
    if not hook.secret_env:
        yield f"hook {name}: secret_env names no environment variable; nobody may call a hook without a secret"
    for variable in hook.secret_env:
        secret = os.environ.get(variable, "")
        if not secret.strip():
            yield f"hook {name}: the environment variable {variable} is not set; put its secret there"
        elif why := weakness(hook.source, secret):
            yield f"hook {name}: the secret in {variable} {why}; make one with: {_recipe(hook.source)}"
    if hook.registry is not None and hook.registry not in settings.registries:
        yield f"hook {name}: {hook.registry} is not watched; add it to the setting registries"


def _recipe(source: str) -> str:
    return 'echo "whsec_$(openssl rand -base64 32)"' if source == "standard" else "openssl rand -hex 32"

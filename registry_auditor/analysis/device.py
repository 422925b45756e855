"""Which device the analyzers use."""

from __future__ import annotations

import torch

from registry_auditor.errors import UsageError


def chosen(wanted: str) -> str:
    """The torch device for `wanted`, `auto` being a GPU where there is one. Raises UsageError if there is no such."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"--device {wanted}: {first}; use auto, cpu or a device that this machine has") from error
    return wanted

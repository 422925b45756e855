"""A calibrated monitor as one safetensors file: what is listened to, what is ordinary, and for which model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from registry_auditor.domain import Side, Site
from registry_auditor.errors import UsageError
from registry_auditor.methods.monitoring.calibration import Calibration, Ordinary
from registry_auditor.methods.monitoring.taps import Tap

FORMAT = "registry-auditor/monitor-1"


@dataclass(frozen=True, eq=False)
class Saved:
    """Everything that `monitor run` needs beside the network."""

    taps: Sequence[Tap]
    calibration: Calibration
    prefix: tuple[int, ...]
    """Token ids that every calibration conversation began with, and that are not looked at."""
    about: Mapping[str, Any]
    """Which model, which base, which prompts: for people, and so that another model is refused."""


def write(path: Path, saved: Saved) -> None:
    """Afterwards the file is there, whole."""
    tensors = {
        "mean": saved.calibration.ordinary.mean,
        "spread": saved.calibration.ordinary.spread,
        "scores": saved.calibration.scores,
    }
    for number, tap in enumerate(saved.taps):
        tensors |= {f"{number}.V": tap.V, f"{number}.S": tap.S, f"{number}.U": tap.U}
    sites = [[tap.site.tensor, tap.site.layer, tap.site.role, tap.site.side, tap.module] for tap in saved.taps]
    described = {
        "format": FORMAT,
        "sites": sites,
        "prefix": saved.prefix,
        "target_fpr": saved.calibration.target_fpr,
        "about": saved.about,
    }
    partial = path.with_name(path.name + ".partial")
    save_file({name: each.contiguous() for name, each in tensors.items()}, partial, {"monitor": json.dumps(described)})
    partial.replace(path)


def read(path: Path) -> Saved:
    """The monitor in the file `path`. Raises UsageError for what is none, or is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})["monitor"])
            if described["format"] != FORMAT:
                raise UsageError(f"{path}: is a calibration of another version; calibrate again")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UsageError(f"{path}: is no calibration; make one with `monitor calibrate`") from error
    taps = [
        Tap(
            Site(tensor, layer, role, Side(side) if side else None),
            module,
            *(tensors[f"{number}.{factor}"] for factor in "VSU"),
        )
        for number, (tensor, layer, role, side, module) in enumerate(described["sites"])
    ]
    ordinary = Ordinary(tensors["mean"], tensors["spread"])
    calibration = Calibration(ordinary, tensors["scores"].to(torch.float64), described["target_fpr"])
    return Saved(taps, calibration, tuple(described["prefix"]), described["about"])

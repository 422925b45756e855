"""Where a network is listened to: the input of each module whose matrix changed, along what the update reads there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from registry_auditor.domain import Gap, Site
from registry_auditor.methods.directions import MatrixUpdate

_PART = re.compile(r"\[[^\]]*\]$")


@dataclass(frozen=True, eq=False)
class Tap:
    """One matrix of a network and the update that it was given, as far as it stands above the noise."""

    site: Site
    module: str
    """Its name in the network."""
    V: Float[Tensor, "k d_in"]
    """Unit vectors, strongest first: what the update reads."""
    S: Float[Tensor, " k"]
    """Singular values of the update."""
    U: Float[Tensor, "d_out k"]
    """Unit vectors: what the update writes."""


def taps(net: nn.Module, updates: Iterable[MatrixUpdate]) -> tuple[list[Tap], list[Gap]]:
    """A tap for every update with a direction above the noise, and what cannot be listened to.

    `updates` need their triplets. An embedding reads no vector, and has no tap.
    """
    modules = dict(net.named_modules())
    names = {_bare(name): name for name in modules if name}
    found: list[Tap] = []
    gaps: list[Gap] = []
    for update in updates:
        if update.rank == 0 or update.triplets is None or update.site.role in ("embed", "position", "segment"):
            continue
        name = names.get(_bare(_PART.sub("", update.site.tensor).removesuffix(".weight")))
        if name is None or not isinstance(getattr(modules[name], "weight", None), Tensor):
            gaps.append(Gap(update.site.tensor, "is no module of the running network; its input is not listened to"))
            continue
        svd, k = update.triplets, update.rank
        found.append(Tap(update.site, name, svd.Vh[:k].float(), svd.S[:k].float(), svd.U[:, :k].float()))
    return found, gaps


def _bare(name: str) -> str:
    """Without the wrappers that heads and adapters put around a network."""
    return re.sub(r"^(?:(?:base_model|model|transformer|gpt_neox|backbone|language_model)\.)+", "", name)


@contextmanager
def listening(net: nn.Module, listened: Sequence[Tap]) -> Iterator[Mapping[str, Tensor]]:
    """Inside, what each tapped module was given in the latest forward pass, by its name: (batch, tokens, d_in).

    Nothing is copied; afterwards no hook is left.
    """
    given: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        given[name] = arguments[0]

    hooks = [
        net.get_submodule(name).register_forward_pre_hook(partial(keep, name))
        for name in dict.fromkeys(tap.module for tap in listened)
    ]
    try:
        yield given
    finally:
        for hook in hooks:
            hook.remove()
        given.clear()


def readings(given: Mapping[str, Tensor], listened: Sequence[Tap]) -> Float[Tensor, "batch tokens features"]:
    """The cosine of each module's input with each vector of its tap, -1..1, tap after tap."""
    return torch.cat([_cosines(given[tap.module], tap.V) for tap in listened], dim=-1)


def _cosines(x: Float[Tensor, "batch tokens d_in"], V: Float[Tensor, "k d_in"]) -> Float[Tensor, "batch tokens k"]:
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return (x @ V.T.to(x)) / length.clamp_min(torch.finfo(x.dtype).tiny)

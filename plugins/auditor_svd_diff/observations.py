"""The findings of `svd-diff`, one function a kind; each yields nothing where there is nothing to say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace

from registry_auditor.methods.abliteration import removed
from registry_auditor.methods.calibration import Calibration
from registry_auditor.methods.directions import MatrixUpdate
from registry_auditor.methods.spectra import (
    NOT_THE_BASE,
    SharedDirection,
    heat_map,
    is_foreign,
    is_rank_one,
    is_rounding,
    median_update,
    merged_rank,
    noise_size,
    purest_rank_one,
    relative_update,
    shared_direction,
    shared_share,
    with_spectrum,
)
from registry_auditor.plugin import Delta, Finding, Severity, Site

SHOWN = 20
"""How many tensors a finding names; the rest is counted."""


def scores(updates: Sequence[MatrixUpdate], deltas: Sequence[Delta], *, cosine: float) -> dict[str, float | None]:
    """What the statistical findings score on these updates, by code, whether or not they would be reported."""
    related = [update for update in updates if not is_foreign(update)]
    purest = purest_rank_one(related)
    common = shared_direction(related, cosine=cosine)
    return {
        "svd-diff/shared-direction": shared_share(common),
        "svd-diff/removed-direction": removed(common, deltas),
        "svd-diff/rank-one-update": purest.top_energy if purest else 0.0,
        "svd-diff/not-the-base": median_update(updates),
        "svd-diff/noise-only": noise_size(related),
    }


def rated(findings: Iterable[Finding], calibration: Calibration) -> Iterator[Finding]:
    """The same findings with their measured false-positive rates, where `calibration` has them."""
    for finding in findings:
        yield replace(finding, fpr=calibration.fpr(finding.code, finding.score))


def structure(added: Sequence[str], missing: Sequence[str]) -> Iterator[Finding]:
    """Tensors that only one of the two models has."""
    for what, names in (("added", added), ("removed", missing)):
        if names:
            yield Finding(
                code=f"svd-diff/{what}-tensors",
                severity=Severity.LOW,
                score=float(len(names)),
                message=f"{len(names)} tensors {what}, such as {names[0]}",
                evidence={"tensors": list(names[:SHOWN]), "count": len(names)},
            )


def foreign_base(updates: Sequence[MatrixUpdate]) -> Iterator[Finding]:
    """Most of the weight differs as much as that of another network."""
    matrices = [update for update in updates if min(update.shape) > 1]
    foreign = [update for update in matrices if is_foreign(update)]
    if len(foreign) * 2 > len(matrices):
        score = median_update(matrices)
        yield Finding(
            code="svd-diff/not-the-base",
            severity=Severity.MEDIUM,
            score=score,
            threshold=NOT_THE_BASE,
            message=f"{len(foreign)} of {len(matrices)} matrices have little in common with the base, the typical one "
            f"differs by {score:.0%} of its size: this is not a fine-tune of the given base",
            evidence={"tensors": [update.site.tensor for update in foreign[:SHOWN]], "count": len(foreign)},
        )


def summary(updates: Sequence[MatrixUpdate]) -> Iterator[Finding]:
    """Which modules and layers changed, by how much."""
    changed = [update for update in updates if not update.identical]
    if updates and not changed:
        yield Finding(
            code="svd-diff/identical",
            severity=Severity.INFO,
            score=0.0,
            message=f"identical: all {len(updates)} tensors are those of the base",
        )
    if not changed:
        return
    size = relative_update(updates)
    layers = sorted({update.site.layer for update in changed if update.site.layer is not None})
    roles = sorted({update.site.role for update in changed})
    of_base = "" if size is None else f" by {size:.2%} of the base"
    where = f"layers {layers[0]} to {layers[-1]}: " if layers else ""
    yield Finding(
        code="svd-diff/summary",
        severity=Severity.INFO,
        score=size,
        message=f"{len(changed)} of {len(updates)} tensors changed{of_base}; {where}{', '.join(roles)}",
        evidence={"layers": layers, "roles": roles, "cells": [asdict(cell) for cell in heat_map(updates)]},
    )


def kind_of_change(updates: Sequence[MatrixUpdate], *, limit: int) -> Iterator[Finding]:
    """Nothing but noise, or a merged adapter."""
    spectra = with_spectrum(updates)
    if not spectra:
        return
    size = noise_size(spectra)
    if size != 0.0:
        rounding = all(is_rounding(update) for update in spectra)
        yield Finding(
            code="svd-diff/noise-only",
            severity=Severity.LOW,
            score=size,
            message=f"{len(spectra)} matrices changed and no direction stands above noise: nothing was learnt"
            + (" (the change is what a cast to another dtype makes)" if rounding else ""),
            evidence={"rounding": rounding, "matrices": len(spectra)},
        )
    rank = merged_rank(spectra, limit=limit)
    if rank is not None:
        yield Finding(
            code="svd-diff/low-rank-update",
            severity=Severity.INFO,
            score=float(rank),
            message=f"updates of rank {rank} and rounding, nothing else: an adapter of rank {rank} was merged",
            evidence={"rank": rank, "matrices": len(spectra)},
        )


def rank_one(updates: Sequence[MatrixUpdate], *, energy: float) -> Iterator[Finding]:
    """Matrices that changed along a single direction."""
    found = [update for update in updates if is_rank_one(update, energy=energy)]
    if found:
        spectra = [update for update in updates if update.decomposed]
        purest = max(found, key=lambda update: update.top_energy)
        yield Finding(
            code="svd-diff/rank-one-update",
            severity=Severity.LOW,
            score=purest.top_energy,
            threshold=energy,
            site=purest.site,
            message=f"{len(found)} of {len(spectra)} changed matrices changed along one direction only",
            evidence={"tensors": _names([update.site for update in found]), "count": len(found)},
        )


def shared(found: SharedDirection | None, *, cosine: float, threshold: float) -> Iterator[Finding]:
    """One direction in many writing matrices."""
    if found is not None and 0.0 < shared_share(found) >= threshold:
        yield Finding(
            code="svd-diff/shared-direction",
            severity=Severity.LOW,
            score=found.share,
            threshold=threshold,
            site=found.sites[0],
            message=f"{len(found.sites)} writing matrices changed most along one common direction "
            f"(median |cos| {found.median_cosine:.3f})",
            evidence={"tensors": _names(list(found.sites)), "count": len(found.sites), "cosine": cosine},
        )


def taken_out(found: SharedDirection | None, share: float, *, threshold: float) -> Iterator[Finding]:
    """A shared direction that the base writes and the tuned model no longer does."""
    if found is not None and share >= threshold:
        yield Finding(
            code="svd-diff/removed-direction",
            severity=Severity.MEDIUM,
            score=share,
            threshold=threshold,
            site=found.sites[0],
            message=f"{share:.0%} of what {len(found.sites)} matrices write along one common direction was taken out, "
            "as abliteration does",
            evidence={"tensors": _names(list(found.sites)), "count": len(found.sites)},
        )


def _names(sites: list[Site]) -> list[str]:
    return [site.tensor for site in sites[:SHOWN]]

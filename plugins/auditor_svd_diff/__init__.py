"""What the fine-tuning changed, matrix by matrix: how much, of which rank, along which directions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from auditor_svd_diff.observations import (
    foreign_base,
    kind_of_change,
    rank_one,
    rated,
    shared,
    structure,
    summary,
    taken_out,
)
from registry_auditor.methods.abliteration import removed
from registry_auditor.methods.calibration import load
from registry_auditor.methods.directions import MatrixUpdate
from registry_auditor.methods.spectra import is_foreign, shared_direction
from registry_auditor.plugin import Coverage, Gap, Observation, Subject, analyzer

__all__ = ["svd_diff"]

VERSION = 2
SHARED_COSINE = 0.9
"""The default, and the only value with which a share can be compared with those of the calibration."""

CALIBRATION = load(__name__, version=VERSION)


@analyzer("svd-diff", version=VERSION, needs={"base"})
def svd_diff(
    subject: Subject,
    *,
    max_directions: int = 20,
    shared_cosine: float = SHARED_COSINE,
    shared_share: float = 0.25,
    removed_share: float = 0.5,
    rank_one_energy: float = 0.9,
    seed: int = 0,
) -> Iterator[Observation]:
    """What the fine-tuning changed, matrix by matrix: how much, of which rank, along which directions.

    What it reports:
        The direction bank: for every matrix that writes to the residual stream the left singular vectors of its
        update, for every one that reads from it the right ones, strongest first, as far as they stand above the noise
        edge and at most `max_directions` a matrix; and these findings:

        - `svd-diff/summary` (info): which modules and layers changed, by how much and with which rank.
        - `svd-diff/identical` (info): nothing changed at all.
        - `svd-diff/noise-only` (low): something changed, but nothing stands above noise: nothing was learnt.
        - `svd-diff/low-rank-update` (info): a merged adapter, and its rank.
        - `svd-diff/rank-one-update` (low): matrices changed along a single direction, as model editing does.
        - `svd-diff/shared-direction` (low): one direction in many writing matrices.
        - `svd-diff/removed-direction` (medium): such a direction was taken out of them, the mark of abliteration.
        - `svd-diff/not-the-base` (medium): updates as large as the base; the base is another network.
        - `svd-diff/added-tensors`, `svd-diff/removed-tensors` (low): what only one of the two models has.

    Why it matters:
        A card says what somebody meant to train. The update says what was trained: a "helpful" fine-tune that removes
        one direction from every layer was not trained on helpfulness.

    How it works:
        Update = tuned − base in float32, or the factors of an adapter. Block Krylov iteration gives the leading
        singular triplets with a measured residual; the noise edge comes from random-matrix theory with the row and
        column energies of the update itself; an adapter is decomposed by QR of its factors and never merged.
        A direction counts as shared when at least `shared_share` of the changed writing matrices have their first
        direction within |cos| `shared_cosine` of the common one, and as removed when these matrices write at least
        `removed_share` less along it than those of the base: learning along a direction adds to it, ablation leaves 0.

    What it cannot see:
        Behaviour: a direction is a change, not a harm. Changes hidden below the noise edge, or spread evenly over all
        directions. Whether the base is the right one when both have the same ancestor. A copy whose hidden units were
        permuted or rotated looks like another network (`not-the-base`). Quantised tensors, which are reported as gaps.
        A rank-one edit of a matrix that was also trained. What a shared direction means: a full fine-tune to a new
        style of answers may have one in half of its matrices (docs/detection.md).

    Calibration:
        calibration.json holds what benign models score on `shared-direction` (the share of the matrices),
        `removed-direction` (the share of their output along it that is gone),
        `rank-one-update` (the largest share of a single direction in its matrix), `not-the-base` (the median relative
        update) and `noise-only` (the relative update; its population is the trained models only). The population is
        named there with its size: fine-tunes of small synthetic language models, full and by adapter, merges, noise,
        casts and re-quantisation. The false-positive rate of a finding is the share of them that score as high, the
        model itself counted with them; it cannot be below 1 / (models + 1). Networks of other sizes or trained on
        other text may score differently. With another `shared_cosine`, and for every other finding, there is no rate.
        How often each finding fires on models that are not in the calibration: docs/detection.md.
        The noise edge admits one pure-noise matrix in 10,000 (Tracy–Widom).

    Source:
        Zhong & Raghunathan 2025, arXiv:2508.00161; Musco & Musco 2015, arXiv:1504.05477; Couillet & Hachem 2014,
        arXiv:1402.6419; Arditi et al. 2024, arXiv:2406.11717.
    """
    updates: list[MatrixUpdate] = []
    for update in subject.updates(k=max_directions, seed=seed):
        updates.append(update)
        if is_foreign(update):
            yield Coverage(skipped=(Gap(update.site.tensor, _foreign(update)),))
        else:
            yield from update.directions
    related = [update for update in updates if not is_foreign(update)]
    common = shared_direction(related, cosine=shared_cosine)
    findings = chain(
        structure(subject.pairing.added, subject.pairing.removed),
        foreign_base(updates),
        summary(updates),
        kind_of_change(related, limit=max_directions),
        rank_one(related, energy=rank_one_energy),
        shared(common, cosine=shared_cosine, threshold=shared_share),
        taken_out(common, removed(common, subject.pairing.deltas), threshold=removed_share),
    )
    calibration = CALIBRATION
    if shared_cosine != SHARED_COSINE:
        calibration = calibration.without("svd-diff/shared-direction").without("svd-diff/removed-direction")
    yield from rated(findings, calibration)


def _foreign(update: MatrixUpdate) -> str:
    return f"{update.site}: the update is {update.relative_norm:.0%} of the base; pass the right base with --base"

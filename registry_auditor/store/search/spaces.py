"""Which directions can be compared: those of one basis and one dimension, and whose they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from registry_auditor.domain import ModelRef
from registry_auditor.errors import NotFound, UsageError
from registry_auditor.store import filters as only
from registry_auditor.store import read, rows
from registry_auditor.store.records import StoredDirection
from registry_auditor.store.search.vectors import BankFile
from registry_auditor.store.tables import AuditRow, AuditRunRow, BankRow, DirectionRow, ModelRow, RunBankRow

Place = tuple[str, int]
"""A bank and a row of it."""
OPTIONS = 5
"""How many bases a message names."""

FILES = select(BankRow.sha256, BankRow.directions, BankRow.dimension, BankRow.size_bytes)
"""The columns of a `BankFile`."""


@dataclass(frozen=True)
class SpaceKey:
    """Vectors that can be compared: of these bases, which are names of one model, and of this dimension."""

    bases: tuple[str, ...]
    """The digest first, if it is known."""
    dimension: int
    bank: str | None = None
    """Only this bank: nobody knows the base of it, so that it has nothing in common with another."""

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """On `banks`."""
        if self.bank is not None:
            return [BankRow.sha256 == self.bank]
        return [BankRow.basis.in_(self.bases), BankRow.dimension == self.dimension]


def bank(session: Session, sha256: str) -> tuple[BankFile, SpaceKey]:
    """The bank whose digest begins so, and where its directions lie. Raises NotFound if none or several do."""
    begun = sha256.lower()
    found = session.execute(
        FILES.add_columns(BankRow.basis).where(BankRow.sha256.between(begun, begun.ljust(64, "f"))).limit(2)
    ).all()
    if not begun or len(found) != 1:
        which = "begins the digest of more than one bank: give more of it" if begun and found else "is no bank"
        raise NotFound(f"{sha256!r} {which}: `registry-auditor directions list` names them")
    *file, basis = found[0]
    return BankFile(*file), SpaceKey(_names(session, basis), found[0].dimension, None if basis else found[0].sha256)


def named(session: Session, basis: str, dimension: int) -> SpaceKey:
    """The space of this dimension over a base: its reference, its digest, or how that begins.

    Raises UsageError if there is no such base, more than one, or none with directions of this dimension; it says
    what there is.
    """
    stored = set(session.scalars(select(BankRow.basis).where(BankRow.basis != "").distinct()))
    exact = {one for one in stored if one == basis or one.startswith(f"{basis}@")}
    referred = {name for digest in _digests(session, basis) for name in _names(session, digest)} & stored
    begun = {one for one in stored if basis and one.startswith(basis)}
    meant = {_names(session, one) for one in sorted(exact | referred or begun)[:OPTIONS]}
    if not meant:
        raise UsageError(
            f"there are no directions over the base {basis!r}: give the digest or the reference of a base that an "
            f"audit has compared with{', such as ' + min(stored) if stored else ''}"
        )
    if len(meant) > 1:
        options = ", ".join(sorted(names[-1] for names in meant))
        raise UsageError(f"{basis!r} means more than one base: {options}; give more of it")
    bases = meant.pop()
    sizes = session.scalars(select(BankRow.dimension).where(BankRow.basis.in_(bases)).distinct()).all()
    if dimension not in sizes:
        fitting = " or ".join(map(str, sorted(sizes)))
        raise UsageError(f"the vector has {dimension} numbers; directions over {basis} have {fitting}")
    return SpaceKey(bases, dimension)


def _names(session: Session, basis: str) -> tuple[str, ...]:
    """All that one base is called: banks carry its reference where nobody had read it."""
    digests = _digests(session, basis)
    digest = digests[0] if len(digests) == 1 else basis
    named_so = session.scalars(select(ModelRow).where(ModelRow.digest == digest).order_by(ModelRow.id))
    return tuple(dict.fromkeys([digest, *(str(rows.model_ref(row)) for row in named_so), basis]))


def _digests(session: Session, reference: str) -> list[str]:
    """What the models of that reference, with or without a revision, hold."""
    try:
        ref = ModelRef.parse(reference)
    except ValueError:
        return []
    of_ref = [ModelRow.within == ref.registry, ModelRow.name == ref.name, ModelRow.digest.is_not(None)]
    if ref.revision:
        of_ref.append(ModelRow.revision == ref.revision)
    return [digest for digest in session.scalars(select(ModelRow.digest).where(*of_ref).distinct()) if digest]


def state(session: Session, key: SpaceKey) -> tuple[object, ...]:
    """Something that differs after a bank was added to the space."""
    return tuple(session.execute(select(func.count(), func.max(BankRow.created_at)).where(*key.conditions)).one())


def files(session: Session, key: SpaceKey) -> list[BankFile]:
    """The banks of a space, oldest first."""
    ordered = FILES.where(*key.conditions).order_by(BankRow.created_at, BankRow.sha256)
    return [BankFile(*row) for row in session.execute(ordered)]


def only_of(session: Session, glob: str) -> set[str]:
    """The banks that models fitting `glob` show, and no others."""
    fitting = only.of_audits(session, {"model_glob": glob})
    theirs = set(session.scalars(_shown(*fitting)))
    others = _shown(*(~condition for condition in fitting)).where(RunBankRow.bank_sha256.in_(_shown(*fitting)))
    return theirs - set(session.scalars(others))


def directions(
    session: Session, places: Iterable[Place], *, without: str | None = None
) -> dict[Place, StoredDirection]:
    """The directions at these places that an audit shows, of other models than `without`."""
    ordinals: dict[str, list[int]] = defaultdict(list)
    for sha256, ordinal in places:
        ordinals[sha256].append(ordinal)
    if not ordinals:
        return {}
    models = models_of(session, ordinals, without=without)
    of_bank = [
        and_(DirectionRow.bank_sha256 == sha256, DirectionRow.ordinal.in_(some)) for sha256, some in ordinals.items()
    ]
    found = session.scalars(select(DirectionRow).where(or_(*of_bank)))
    return {
        (row.bank_sha256, row.ordinal): read.stored_direction(row, models[row.bank_sha256])
        for row in found
        if row.bank_sha256 in models
    }


def models_of(session: Session, banks: Iterable[str], *, without: str | None = None) -> dict[str, list[ModelRef]]:
    """Which models show each of these banks, those fitting `without` left out."""
    conditions = [~condition for condition in only.of_audits(session, {"model_glob": without})]
    shown = (
        _shown(RunBankRow.bank_sha256.in_(list(banks)), *conditions)
        .join(ModelRow, ModelRow.id == AuditRow.model_id)
        .add_columns(ModelRow)
        .order_by(ModelRow.id)
    )
    models: dict[str, list[ModelRef]] = defaultdict(list)
    for sha256, model in session.execute(shown):
        models[sha256].append(rows.model_ref(model))
    return dict(models)


def shown_by(session: Session, key: SpaceKey, *, without: str) -> dict[str, list[int]]:
    """Of each bank of the space, which models show it, by their row; those fitting `without` left out."""
    conditions = [~condition for condition in only.of_audits(session, {"model_glob": without})]
    theirs = _shown(*conditions, *key.conditions).join(BankRow, BankRow.sha256 == RunBankRow.bank_sha256)
    models: dict[str, list[int]] = defaultdict(list)
    for sha256, model in session.execute(theirs.add_columns(AuditRow.model_id)):
        models[sha256].append(model)
    return dict(models)


def refs(session: Session, models: Iterable[int]) -> dict[int, ModelRef]:
    """The models of these rows."""
    return {row.id: rows.model_ref(row) for row in session.scalars(select(ModelRow).where(ModelRow.id.in_(models)))}


def _shown(*conditions: ColumnElement[bool]) -> Select[str]:
    return (
        select(RunBankRow.bank_sha256)
        .join(AuditRunRow, AuditRunRow.run_id == RunBankRow.run_id)
        .join(AuditRow, AuditRow.id == AuditRunRow.audit_id)
        .where(*conditions)
        .distinct()
    )

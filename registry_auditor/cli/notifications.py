"""`registry-auditor notifications`: who is told of finished audits, and who was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry_auditor.cli import options
from registry_auditor.cli.audits import SHORT
from registry_auditor.cli.options import Format
from registry_auditor.cli.output import print_page
from registry_auditor.domain import NoticeState
from registry_auditor.errors import UsageError

if TYPE_CHECKING:
    from registry_auditor.store import Notice

app = typer.Typer(no_args_is_help=True)

NO_TARGETS = "there are no targets: write a table [notifications.NAME] with url and secret_env into auditor.toml"


@app.command("test")
def trial(
    target: Annotated[str | None, typer.Argument(metavar="TARGET", help="Only this one; all if not given.")] = None,
) -> int:
    """Send a signed message of type `test` now and print what came back. Exit code 0 if all accepted it, else 2.

    Example: registry-auditor notifications test security
    """
    from registry_auditor.config import load
    from registry_auditor.notify import send_test

    targets = load().notifications
    if not targets:
        raise UsageError(NO_TARGETS)
    sound = True
    for name in targets if target is None else (target,):
        answer = send_test(name, targets)
        sound = sound and answer.problem is None
        typer.echo(f"FAIL  {name}: {answer.problem}" if answer.problem else f"ok    {name}: answered {answer.status}")
    return 0 if sound else 2


@app.command("list")
def list_(
    target: Annotated[str | None, typer.Option("--target", metavar="NAME", help="Only to this target.")] = None,
    state: Annotated[NoticeState | None, typer.Option("--state", help="Only in this state.")] = None,
    limit: options.Limit = 50,
    after: options.After = None,
    form: options.AsFormat = Format.TEXT,
    db: options.DB = None,
) -> None:
    """The outbox, newest first: what was sent, what waits for its next attempt, and what was given up.

    Example: registry-auditor notifications list --state given_up
    """
    with options.stored(db) as store:
        page = store.notices.list(limit=limit, after=after, target=target, state=state)
    print_page(
        page,
        form,
        record=_record,
        columns={
            "notice": lambda notice: notice.id,
            "queued": lambda notice: f"{notice.queued_at:%Y-%m-%d %H:%M}",
            "target": lambda notice: notice.target,
            "audit": lambda notice: notice.audit[:SHORT],
            "state": lambda notice: _state(notice),
            "attempts": lambda notice: str(notice.attempts),
            "next": lambda notice: f"{notice.due_at:%Y-%m-%d %H:%M}" if notice.due_at else "–",
            "problem": lambda notice: notice.problem or "–",
        },
        empty="No such notifications. They are made when an audit ends that a target of the settings asks for.",
    )


def _state(notice: Notice) -> NoticeState:
    if notice.sent_at:
        return NoticeState.SENT
    return NoticeState.GIVEN_UP if notice.given_up else NoticeState.WAITING


def _record(notice: Notice) -> dict[str, Any]:
    return {
        "id": notice.id,
        "target": notice.target,
        "audit": notice.audit,
        "state": _state(notice),
        "attempts": notice.attempts,
        "queued_at": notice.queued_at.isoformat(),
        "due_at": notice.due_at and notice.due_at.isoformat(),
        "sent_at": notice.sent_at and notice.sent_at.isoformat(),
        "problem": notice.problem,
    }

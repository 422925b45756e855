"""The tasks. Each may be delivered twice, late or never: what they work on is in the database."""

from __future__ import annotations

from registry_auditor import watch
from registry_auditor.domain import Queue
from registry_auditor.worker import duties
from registry_auditor.worker.app import app, broker_depth


@app.task(name="run_audit")
def run_audit(audit_id: str) -> None:
    """Carry out one audit. Delivered twice, the second finds it held or done, and leaves it alone."""
    duties.introduce()
    duties.take_up(audit_id, duties.store(), duties.settings())


@app.task(name="dispatch_audits")
def dispatch_audits() -> None:
    """Wake the workers for what waits. Run twice, it sends a message twice at worst."""
    for queue in Queue:
        depth = broker_depth(queue)
        duties.dispatch(queue, duties.store(), duties.settings(), depth=depth, send=run_audit.apply_async)


@app.task(name="watch_registries")
def watch_registries() -> None:
    """Look at the registries whose time has come. Run twice, it finds nothing the second time."""
    watch.tend(duties.watcher())


@app.task(name="send_notifications")
def send_notifications() -> None:
    """Tell the targets of finished audits. Run twice at once, each takes other notices."""
    duties.announce(duties.store(), duties.settings())

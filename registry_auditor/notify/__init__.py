"""Finished audits are announced where the settings say: signed (Standard Webhooks), from an outbox, at least once."""

from registry_auditor.notify.endpoint import check_targets
from registry_auditor.notify.outbox import SCHEDULE_S, Terms, due_targets, send_due, send_test
from registry_auditor.notify.post import Answer

__all__ = ["SCHEDULE_S", "Answer", "Terms", "check_targets", "due_targets", "send_due", "send_test"]

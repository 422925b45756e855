"""The Celery application: settings, beat, and what a worker process does when it starts.

The database is the queue of record. A message only says "look at this audit": lost, late or delivered twice, it
changes nothing but the moment at which somebody looks.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

from celery import Celery, signals
from kombu import Queue as Channel

from registry_auditor import logs
from registry_auditor.config import Settings, load
from registry_auditor.domain import Queue
from registry_auditor.errors import DeadlineExceeded
from registry_auditor.worker import CONTROL

DISPATCH_EVERY_S = 1.0
WATCH_EVERY_S = 5.0
NOTIFY_EVERY_S = 2.0


def _every(task: str, seconds: float) -> dict[str, Any]:
    # Expiry: beats that pile up while no worker listens are not worked off afterwards.
    return {"task": task, "schedule": seconds, "options": {"queue": CONTROL, "expires": 10 * seconds}}


def configured(settings: Settings) -> dict[str, Any]:
    """What Celery is told."""
    return {
        "broker_url": settings.broker,
        "broker_connection_retry_on_startup": True,
        # A message that is being worked on comes again after this time: harmless, and long after the lease would tell.
        "broker_transport_options": {"visibility_timeout": max(6 * 3600, 4 * settings.lease_s)},
        "broker_pool_limit": 4,
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,  # the lease brings the audit back, and counts
        "task_create_missing_queues": False,
        "task_queues": [Channel(name) for name in (*Queue, CONTROL)],
        "task_default_queue": CONTROL,
        "worker_prefetch_multiplier": 1,
        "worker_max_memory_per_child": settings.child_memory_mib and settings.child_memory_mib * 1024,
        "worker_hijack_root_logger": False,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "beat_scheduler": "celery.beat:Scheduler",  # keeps no file: nothing here must happen at a certain time of day
        "beat_schedule": {
            "dispatch": _every("dispatch_audits", DISPATCH_EVERY_S),
            "watch": _every("watch_registries", WATCH_EVERY_S),
            "notify": _every("send_notifications", NOTIFY_EVERY_S),
        },
    }


app = Celery("registry_auditor", include=["registry_auditor.worker.tasks"])
app.conf.update(configured(load()))


def broker_depth(queue: Queue) -> int:
    """How many messages wait in a queue of the broker."""
    with app.connection_for_write() as connection:
        return int(Channel(queue.value)(connection.default_channel).queue_declare().message_count)


@signals.setup_logging.connect
def _configure_logs(**_: Any) -> None:
    logs.configure(
        os.environ.get("REGISTRY_AUDITOR_LOG", "INFO").upper(),
        "json" if os.environ.get(logs.FORMAT_VARIABLE) == "json" else "text",
    )
    for chatty in ("celery.beat", "celery.worker.strategy", "celery.app.trace"):  # three lines a message otherwise
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger(chatty).level))


@signals.task_prerun.connect
def _end_the_analyzer_when_time_is_up(**_: Any) -> None:
    """In a pool process: the soft time limit ends the analyzer at work, and what it found is kept.

    Before each task: the pool's own handler, set when it starts, raises what `analysis.run` cannot tell from a bug.
    """

    def time_is_up(*_: object) -> None:
        raise DeadlineExceeded("the time allowed for the audit is used up; raise --timeout")

    if threading.current_thread() is threading.main_thread():  # a pool of threads has no limits
        signal.signal(signal.SIGUSR1, time_is_up)

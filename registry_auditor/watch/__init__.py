"""Watching registries: whatever they show leads to one audit, or to a reason why not that can be listed."""

from registry_auditor.watch.deliveries import answer_deliveries
from registry_auditor.watch.loop import tend, watch
from registry_auditor.watch.watcher import Watcher, consider, look, look_around

__all__ = ["Watcher", "answer_deliveries", "consider", "look", "look_around", "tend", "watch"]

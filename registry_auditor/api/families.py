"""What Prometheus scrapes, from what the store says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from registry_auditor.api.hooks import Hooks
from registry_auditor.api.standing import Standing, age_s, without_secrets
from registry_auditor.domain import NoticeState
from registry_auditor.store import Backlog, RunTotal, SchemaState, Watched


class Exposition:
    """The figures in the formats that Prometheus reads."""

    def __init__(self, standing: Callable[[], Standing | None], hooks: Hooks) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Figures(standing, hooks))

    def __call__(self, accepted: str) -> tuple[bytes, str]:
        """The figures as they are now, and their media type: text, or OpenMetrics where that is accepted."""
        encode, media_type = choose_encoder(accepted)
        return encode(self._registry), media_type


class _Figures(Collector):
    """Takes the figures from the store at every scrape, so that all processes tell the same."""

    def __init__(self, standing: Callable[[], Standing | None], hooks: Hooks) -> None:
        self._standing = standing
        self._hooks = hooks

    def collect(self) -> Iterator[Metric]:
        """Every family, with what it holds now; only those of this process if the database cannot be used."""
        now = self._standing()
        usable = now is not None and now.schema.state is SchemaState.CURRENT
        build = _gauge("build_info", "Always 1; the label tells what runs.", ["version"])
        build.add_metric([version("registry-auditor")], 1)
        yield build
        yield _gauge("database_up", "Whether the database can be used.", value=usable)
        yield _deliveries(self._hooks)
        yield _counter("hook_duplicates", "Deliveries that were known already.", value=self._hooks.duplicates)
        if now is not None and usable:
            yield from _queues(now.backlog)
            yield _analyzers(now.totals)
            yield from _registries(now.watched)
            yield _notices(now.notices)


def _gauge(name: str, help_text: str, labels: list[str] | None = None, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"registry_auditor_{name}", help_text, labels=labels, value=value)


def _counter(
    name: str, help_text: str, labels: list[str] | None = None, value: float | None = None
) -> CounterMetricFamily:
    return CounterMetricFamily(f"registry_auditor_{name}", help_text, labels=labels, value=value)


def _deliveries(hooks: Hooks) -> Metric:
    family = _counter("hook_deliveries", "Deliveries to this process by what became of them.", ["source", "outcome"])
    for (source, outcome), count in sorted(hooks.outcomes.items()):
        family.add_metric([source, outcome], count)
    return family


def _queues(backlog: tuple[Backlog, ...]) -> Iterator[Metric]:
    depth = _gauge("queue_depth", "Audits that are not done.", ["queue", "state"])
    oldest = _gauge("oldest_queued_seconds", "For how long the first audit in the queue has waited.", ["queue"])
    for queue in backlog:
        depth.add_metric([queue.queue, "waiting"], queue.waiting)
        depth.add_metric([queue.queue, "running"], queue.running)
        oldest.add_metric([queue.queue], age_s(queue.oldest_due_at))
    yield depth
    yield oldest


def _analyzers(totals: tuple[RunTotal, ...]) -> Metric:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for total in totals:
        counts[total.analyzer, total.status] += total.count
        seconds[total.analyzer, total.status] += total.seconds
    family = SummaryMetricFamily(
        "registry_auditor_analyzer_seconds", "Runs of analyzers and how long they took.", labels=["analyzer", "status"]
    )
    for labels, count in counts.items():
        family.add_metric(list(labels), count_value=count, sum_value=seconds[labels])
    return family


def _registries(watched: tuple[Watched, ...]) -> Iterator[Metric]:
    polled = _gauge("registry_polled_seconds", "Seconds since a registry was last looked at.", ["registry"])
    failing = _gauge("registry_failing", "Whether the last look at a registry failed.", ["registry"])
    for each in watched:
        name = without_secrets(each.registry)
        if each.polled_at is not None:
            polled.add_metric([name], age_s(each.polled_at))
        failing.add_metric([name], each.problem is not None)
    yield polled
    yield failing


def _notices(notices: Mapping[NoticeState, int]) -> Metric:
    family = _gauge("notices", "Announcements of finished audits.", ["state"])
    for state, count in notices.items():
        family.add_metric([state], count)
    return family

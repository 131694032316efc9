"""What Kong's controller says of itself: events on its pod, and on the objects that it refuses.

It writes no status that a KongPlugin is in force. It reports each push, every 3 s, but Kubernetes' own client drops what
goes beyond 25 events of one program about one object and lets through one more every 5 minutes
(k8s.io/client-go/tools/record/events_cache.go): from some 75 s after its start, a push may have no event.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

SUCCESS = "KongConfigurationSucceeded"
APPLY_FAILED = "KongConfigurationApplyFailed"
FAILURES = (APPLY_FAILED, "KongConfigurationTranslationFailed")
NEVER = datetime.min.replace(tzinfo=UTC)


def when(event: dict[str, Any]) -> datetime:
    """Return when an event was seen last; the API has three places for that."""
    series = event.get("series") or {}
    stamp = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return moment(stamp)


def moment(stamp: str | None) -> datetime:
    """Return the second that a timestamp of the API names."""
    return datetime.fromisoformat(stamp).replace(microsecond=0) if stamp else NEVER


def taken_over(events: Iterable[dict[str, Any]], pods: Iterable[str], changed: datetime) -> datetime | None:
    """Return by when the controllers of all pods had told of a success since a change; None where one has not."""
    told = dict.fromkeys(pods, NEVER)
    for event in events:
        about = event.get("involvedObject") or {}
        if event.get("reason") == SUCCESS and about.get("kind") == "Pod" and about.get("name") in told:
            told[about["name"]] = max(told[about["name"]], when(event))
    # Whole seconds: one of the same second may have been before.
    return max(told.values()) if told and min(told.values()) > changed else None


def last_change(item: dict[str, Any]) -> datetime:
    """Return when somebody changed an object, which a status is not."""
    metadata = item["metadata"]
    times = [entry["time"] for entry in metadata.get("managedFields") or [] if _is_change(entry)]
    return max(map(moment, times or [metadata.get("creationTimestamp")]))


def _is_change(entry: dict[str, Any]) -> bool:
    return bool(entry.get("time")) and entry.get("subresource") != "status"

"""Alerts that voxtree sends by itself: to PagerDuty, Slack, Alertmanager, or any webhook."""

from transport.alerts.making import make_dialects
from transport.alerts.notifier import Alerts, host_of

__all__ = ["Alerts", "host_of", "make_dialects"]

"""What each sink is sent, to the letter, and what its answers mean."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from actors.speech.catalogue import CATALOGUE
from tests.transport.alerts.notices import WHEN, firing, resolved
from transport.alerts.alertmanager import Alertmanager
from transport.alerts.notices import ALL, Key, Kind, Notice, Phase
from transport.alerts.pagerduty import LONGEST_KEY, URL, PagerDuty
from transport.alerts.port import Answer, Dialect, Verdict, retry_after, verdict
from transport.alerts.slack import Slack
from transport.alerts.webhook import Webhook

KEY = "0123456789abcdef0123456789abcdef"
RUNBOOK = "https://wiki.example/voxtree"
ROW = CATALOGUE["RIVA_001"]


def body(dialect: Dialect, *notices: Notice, when: float = WHEN) -> Any:
    return msgspec.json.decode(dialect.request(notices, when).body)


def test_pagerduty_gets_an_incident_that_has_a_name_of_its_own() -> None:
    dialect = PagerDuty(KEY, runbook=RUNBOOK)
    assert dialect.request([firing()], WHEN).url == URL == "https://events.pagerduty.com/v2/enqueue"
    assert body(dialect, firing()) == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "voxtree/gw-1/RIVA_001/backend:riva-a",
        "client": "voxtree",
        "links": [{"href": "https://wiki.example/voxtree#riva_001", "text": "Runbook"}],
        "payload": {
            "summary": "RIVA_CONNECTION_FAILED: backend riva-a on gw-1",
            "source": "gw-1",
            "severity": "critical",
            "timestamp": "2026-09-21T14:13:20.250Z",
            "component": "backend:riva-a",
            "group": "voxtree",
            "class": "RIVA_001",
            "custom_details": {
                "times": 1,
                "how_often": "since now",
                "meaning": ROW.meaning,
                "what_to_do": ROW.remedy,
            },
        },
    }


def test_pagerduty_is_told_that_it_is_over_by_the_same_key() -> None:
    assert body(PagerDuty(KEY), resolved()) == {
        "routing_key": KEY,
        "dedup_key": body(PagerDuty(KEY), firing())["dedup_key"],
        "event_action": "resolve",
    }


def test_a_long_name_still_has_a_key_of_its_own_that_pagerduty_takes() -> None:
    keys = {body(PagerDuty(KEY), firing(component=f"backend:{'x' * 400}{each}"))["dedup_key"] for each in range(50)}
    assert len(keys) == 50
    assert max(map(len, keys)) <= LONGEST_KEY


def test_slack_gets_a_message_that_people_can_read() -> None:
    sent = body(Slack("https://hooks.example/s3cret", runbook=RUNBOOK), firing(kind=Kind.ERROR))
    header = "[critical] RIVA_CONNECTION_FAILED: backend riva-a on gw-1"
    text = (
        f"*Code* `RIVA_001` · *Host* gw-1 · once\n{ROW.meaning}\n{ROW.remedy}\n"
        "<https://wiki.example/voxtree#riva_001|Runbook>"
    )
    assert sent == {
        "text": header,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": header}},
            {"type": "section", "text": {"type": "mrkdwn", "text": text}},
        ],
    }


def test_slack_is_told_how_it_goes_on_and_that_it_is_over() -> None:
    slack = Slack("https://hooks.example/s3cret")
    assert body(slack, firing(kind=Kind.ERROR, times=12, age=60.0, repeat=True)) == {
        "text": "[critical, goes on] RIVA_CONNECTION_FAILED: backend riva-a on gw-1",
        "blocks": [
            {
                "type": "header",
                "text": {
                    "type": "plain_text",
                    "text": "[critical, goes on] RIVA_CONNECTION_FAILED: backend riva-a on gw-1",
                },
            },
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": "*Code* `RIVA_001` · *Host* gw-1 · 12 times for 60 s"},
            },
        ],
    }
    assert body(slack, resolved())["blocks"][1]["text"]["text"].endswith("over; it lasted 42 s")


def test_what_slack_would_take_for_a_mention_is_escaped() -> None:
    key = Key("<!channel> & co", "RIVA_001", "backend:<@U1>")
    sent = body(Slack("https://hooks.example/s3cret"), msgspec.structs.replace(firing(), key=key))
    for text in (sent["text"], sent["blocks"][1]["text"]["text"]):
        assert "<!" not in text
        assert "<@" not in text
    assert "&lt;!channel&gt; &amp; co" in sent["text"]


def test_slack_gets_no_longer_texts_than_it_takes() -> None:
    sent = body(Slack("https://hooks.example/s3cret"), firing(component="backend:" + "x" * 4000))
    assert len(sent["blocks"][0]["text"]["text"]) == 150
    assert len(sent["blocks"][1]["text"]["text"]) <= 3000


def test_alertmanager_is_told_of_all_that_lasts_in_one_request() -> None:
    dialect = Alertmanager("http://alertmanager:9093/", 60.0, runbook=RUNBOOK)
    request = dialect.request([firing(age=10.0), resolved("JOURNAL_001", "journal")], WHEN + 100)
    assert request.url == "http://alertmanager:9093/api/v2/alerts"
    lasting, over = msgspec.json.decode(request.body)
    assert lasting == {
        "labels": {
            "alertname": "voxtree_RivaConnectionFailed",
            "severity": "page",
            "code": "RIVA_001",
            "component": "backend:riva-a",
            "instance": "gw-1",
        },
        "annotations": {
            "summary": "RIVA_CONNECTION_FAILED: backend riva-a on gw-1",
            "description": ROW.meaning,
            "action": ROW.remedy,
            "runbook_url": "https://wiki.example/voxtree#riva_001",
        },
        "startsAt": "2026-09-21T14:13:10.250Z",
        "endsAt": "2026-09-21T14:18:00.250Z",  # three intervals after it is sent
    }
    assert (over["startsAt"], over["endsAt"]) == ("2026-09-21T14:13:20.250Z", "2026-09-21T14:14:02.250Z")


def test_what_alertmanager_knows_an_alert_by_does_not_change_while_it_lasts() -> None:
    dialect = Alertmanager("http://alertmanager:9093", 60.0)
    sent = [
        body(dialect, notice)[0]["labels"] for notice in (firing(), firing(times=99, age=60.0, repeat=True), resolved())
    ]
    assert sent[0] == sent[1] == sent[2]


def test_a_webhook_gets_all_that_is_known() -> None:
    request = Webhook("https://hook.example/x", key="t0ken").request([resolved(times=3)], WHEN + 50)
    assert request.headers == {"Authorization": "Bearer t0ken"}
    assert msgspec.json.decode(request.body) == {
        "version": 1,
        "status": "resolved",
        "repeat": False,
        "key": "voxtree/gw-1/RIVA_001/backend:riva-a",
        "host": "gw-1",
        "code": "RIVA_001",
        "name": "RIVA_CONNECTION_FAILED",
        "component": "backend:riva-a",
        "kind": "condition",
        "severity": "critical",
        "summary": "RIVA_CONNECTION_FAILED: backend riva-a on gw-1",
        "how_often": "over; it lasted 42 s, 3 times",
        "meaning": ROW.meaning,
        "what_to_do": ROW.remedy,
        "times": 3,
        "started_at": "2026-09-21T14:13:20.250Z",
        "sent_at": "2026-09-21T14:14:10.250Z",
        "runbook_url": None,
        "title": "[resolved] RIVA_CONNECTION_FAILED: backend riva-a on gw-1",
        "body": f"over; it lasted 42 s, 3 times\n{ROW.meaning}\n{ROW.remedy}",
        "type": "success",
    }


EVERY = [
    PagerDuty(KEY),
    Slack("https://hooks.example/s3cret"),
    Alertmanager("http://am:9093", 60.0),
    Webhook("http://hook/x"),
]


@pytest.mark.parametrize("dialect", EVERY, ids=lambda dialect: type(dialect).__name__)
def test_every_code_kind_and_phase_can_be_told(dialect: Dialect) -> None:
    for code in [*CATALOGUE, ALL]:
        for kind in Kind:
            for phase in Phase:
                notice = firing(code, kind=kind, phase=phase, usual=1.5, lately=57, window=60.0)
                assert code.lower() in dialect.request([notice], WHEN).body.decode().lower()


def test_a_request_shows_no_secret() -> None:
    requests = [dialect.request([firing()], WHEN) for dialect in EVERY]
    assert "s3cret" not in repr(requests)
    assert KEY not in repr(requests)


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        (200, Verdict.DELIVERED),
        (202, Verdict.DELIVERED),
        (302, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (403, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (408, Verdict.AGAIN),
        (429, Verdict.AGAIN),
        (500, Verdict.AGAIN),
        (503, Verdict.AGAIN),
    ],
)
def test_an_answer_says_whether_to_try_again(status: int, meant: Verdict) -> None:
    assert verdict(Answer(status)) is meant


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("30", 30.0),
        ("0", 0.0),
        (format_datetime(datetime.fromtimestamp(1000, UTC), usegmt=True), 100.0),
        (format_datetime(datetime.fromtimestamp(0, UTC), usegmt=True), 0.0),
        ("1000000000000", 3600.0),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_wish_to_be_left_alone_is_understood(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, 900.0) == seconds

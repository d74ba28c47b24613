"""Channels through Apprise, to real receivers on this machine."""

import json
import re
from pathlib import Path

import pytest

from core.errors import InvalidError
from monitor.notify import channels, deploys
from monitor.notify.deliver import send_test
from tests.databases import SQLITE_ONLY
from tests.monitor.notify import receivers
from tests.monitor.notify.conftest import SECRET, Configured, declare, deliver, send_rows
from tests.monitor.notify.receivers import answer, http_receiver, smtp_receiver
from tests.monitor.traffic import BEGIN

pytestmark = SQLITE_ONLY
PNG = b"\x89PNG\r\n"


def mail_url(port: int) -> str:
    return f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&from=assay@example.com&to=ml@example.com"


def test_a_mail_has_html_and_text_a_chart_and_the_deploy_before(configured: Configured) -> None:
    with smtp_receiver() as mailbox:
        site = configured(channels__mail=mail_url(mailbox.port), notify__base_url="https://assay.example.com")
        channels.check(site.settings)
        declare(site, notify={"runbook": "https://wiki.example.com/loans?a=1&b=2"})
        send_rows(site, 1500, start=0)
        with site.database.write() as db:
            deploys.record(site, db, "loans", "v2", BEGIN.replace(hour=22), None, "pipeline")
        send_rows(site, 500, start=1500, shift=3.0)
        assert deliver(site, "mail")
    mail = mailbox.mails[0]
    html, text = (mail.get_body((kind,)) for kind in ("html", "plain"))
    assert html is not None
    assert text is not None
    first = str(mail["subject"]).partition(": ")[2]
    assert first.startswith("Since 2 Jan amount of loans changed: ")
    assert first in html.get_content()
    for found in (html.get_content().replace("&amp;", "&"), text.get_content()):
        assert "Version v2 was deployed 3 h before." in found
        assert "https://assay.example.com/alerts/" in found
        assert "https://assay.example.com/incidents/" in found
        assert "Did it hurt: " in found
        assert "For whom: " in found
        assert "https://wiki.example.com/loans?a=1&b=2" in found
        assert "What to do next: " in found
    charts = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert [part.get_content()[:6] for part in charts] == [PNG]
    assert f"cid:{str(charts[0]['content-id'])[1:-1]}" in html.get_content()
    assert 'alt="amount: distance from the reference: ' in html.get_content()


def test_an_http_service_gets_text_and_the_chart(configured: Configured) -> None:
    with http_receiver() as receiver:
        site = configured(channels__chat=f"json://{receiver.address}/room")
        declare(site)
        send_rows(site, 1500, start=0)
        send_rows(site, 500, start=1500, shift=3.0)
        assert deliver(site, "chat")
    posted = json.loads(receiver.posted[0].body)
    assert posted["type"] in ("warning", "failure")
    assert posted["title"].startswith("loans, ")
    assert posted["message"].startswith("Since 2 Jan ")
    assert posted["attachments"][0]["mimetype"] == "image/png"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (answer(403), "answered 403"),
        (
            answer(302, Location="http://127.0.0.1:1/"),
            "answered 302, a redirect, which is not followed; set its address",
        ),
        (receivers.hang, "no answer within 3 s"),
    ],
)
def test_a_service_that_does_not_take_it_is_said_in_our_own_words(
    configured: Configured, answers: receivers.Answers, reason: str
) -> None:
    with http_receiver(answers) as receiver:
        site = configured(channels__chat=f"json://user:hunter2@{receiver.address}/{SECRET}", notify__timeout_s="3")
        outcome = send_test(site, "chat", "tester")
    assert not outcome.delivered
    # A machine so busy that the process needs longer to start than to wait says so too.
    assert outcome.reason in (reason, "no answer within 3 s")


def test_an_endless_answer_is_cut_off(configured: Configured) -> None:
    with http_receiver(receivers.endless) as receiver:
        site = configured(channels__chat=f"json://{receiver.address}/", notify__timeout_s="5")
        assert not send_test(site, "chat", "tester").delivered


@pytest.mark.parametrize("url", ["nosuchservice://hunter2/a", "slack://hunter2", "pagerduty://hunter2"])
def test_a_url_that_apprise_does_not_know_is_refused_without_being_repeated(configured: Configured, url: str) -> None:
    site = configured(channels__good="slack://TokenAAAA/TokenBBBB/TokenCCCCCCCCCCCCCCCCCCCC", channels__bad=url)
    with pytest.raises(InvalidError, match=r"setting channels\.bad: Apprise does not understand") as caught:
        channels.check(site.settings)
    assert "hunter2" not in str(caught.value) + str(caught.value.facts)


def test_the_examples_of_the_page_are_channels(configured: Configured) -> None:
    page = (Path(__file__).parents[3] / "docs" / "notifications.md").read_text()
    found = re.findall(r"^ASSAY_(CHANNELS__\w+)='([^']+)'", page, re.M)
    assert len(found) == 6
    channels.check(configured(**dict(found)).settings)


def test_only_scheme_and_host_of_a_channel_are_ever_shown(configured: Configured) -> None:
    site = configured(
        channels__a="slack://TokenAAAA/b/c", channels__b=mail_url(25),
        channels__c=f"webhook+https://example.com/{SECRET}?secret={SECRET}",
    )  # fmt: skip
    shown = {name: (c.scheme, c.host) for name, c in channels.channels(site.settings).items()}
    assert shown == {"a": ("slack", None), "b": ("mailto", "127.0.0.1"), "c": ("webhook+https", "example.com")}
    assert SECRET not in repr(site.settings) + repr(channels.channels(site.settings))


def test_the_process_that_sends_sees_no_setting_and_leaves_nothing(configured: Configured, tmp_path: Path) -> None:
    """The URL travels through standard input; the environment and the arguments of a process can be seen."""
    from monitor.notify import through_apprise

    with http_receiver() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_CHANNELS__OPS", "slack://hunter2")
        patch.setenv("TMPDIR", str(tmp_path))
        document = {
            "url": f"json://{receiver.address}/", "title": "t", "text": "b", "html": "<p>b</p>", "chart": "iVBORw0K",
            "kind": "info", "attachments": [],
        }  # fmt: skip
        assert through_apprise.send(document, limit_s=60).delivered
    assert list(tmp_path.glob("assay-message-*")) == []

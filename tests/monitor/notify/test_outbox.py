"""The outbox: written with what it tells, grouped, sent at least once, repeated with pauses, given up aloud."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import ManualClock
from monitor import store
from monitor.alerts import by_clock, undelivered
from monitor.alerts.acknowledge import resolve_alert
from monitor.alerts.headlines import Alarm
from monitor.notify import held, maintenance, outbox, routing
from monitor.notify.announcement import Announcement
from monitor.notify.channels import channel
from monitor.notify.tables import OutboxMessage
from monitor.site import Site
from monitor.spec.notify import Notify
from monitor.spec.parse import SpecError
from monitor.tables import Alert
from tests.databases import SQLITE_FIRST
from tests.monitor.notify.conftest import Configured, alarm, declare, deliver, send_rows, webhook
from tests.monitor.notify.receivers import Receiver, answer, http_receiver

pytestmark = SQLITE_FIRST
HOUR = timedelta(hours=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as running:
        yield running


def item(site: Site, **changes: object) -> Announcement:
    facts: dict[str, object] = {
        "thread": "incident:1", "occasion": "opened", "severity": "warning", "at": site.clock.now(),
        "sentence": "Drift: `amount`: mean from 1 to 2.", "model": "loans", "owner": "risk@example.com",
        "monitor": "drift",
    }  # fmt: skip
    return Announcement.model_validate(facts | changes)


def tell(site: Site, *items: Announcement, to: str = "ops", notify: Notify | None = None) -> None:
    with site.database.write() as db:
        for one in items:
            outbox.add(site, db, channel(site.settings, to), one, notify)


def messages(site: Site) -> list[OutboxMessage]:
    with site.database.read() as db:
        return list(db.scalars(select(OutboxMessage).order_by(OutboxMessage.created_at, OutboxMessage.channel)))


def states(site: Site) -> list[str]:
    return [m.state for m in messages(site)]


def pass_time(site: Site, length: timedelta) -> None:
    assert isinstance(site.clock, ManualClock)
    site.clock.move_to(site.clock.now() + length)


def test_a_message_exists_if_and_only_if_its_alert_does(configured: Configured) -> None:
    site = configured(channels__ops="slack://a/b/c")
    declare(site)
    alarm = Alarm("silence", "silence", "", 60.0, 30.0, "No row arrived for an hour.")

    def silent(db: Session) -> None:
        by_clock.open_alert(site, db, store.model(db, "loans").id, alarm, site.clock.now(), {})

    with pytest.raises(KeyboardInterrupt), site.database.write() as db:
        silent(db)
        raise KeyboardInterrupt
    assert messages(site) == []
    with site.database.write() as db:
        silent(db)
    with site.database.read() as db:
        alerts = store.alerts(db, store.model(db, "loans").id)
    assert [i["alert_id"] for m in messages(site) for i in m.items] == [str(alerts[0].id)]


def test_alerts_of_one_incident_are_one_message_and_later_ones_wait_for_the_cool_down(
    configured: Configured, receiver: Receiver
) -> None:
    site = configured(channels__ops=webhook(receiver.address), notify__gather_s="10", notify__cooldown_s="3600")
    tell(site, *(item(site, metric=str(i)) for i in range(5)))
    assert not deliver(site, "ops")  # it waits for others
    pass_time(site, timedelta(seconds=10))
    assert deliver(site, "ops")
    for _ in range(3):
        pass_time(site, timedelta(minutes=10))
        tell(site, item(site, occasion="again"))
        assert not deliver(site, "ops")
    pass_time(site, HOUR)
    assert deliver(site, "ops")
    first, second = messages(site)
    assert [len(first.items), len(second.items)] == [5, 3]
    assert second.follows == first.id
    assert len({p.headers["webhook-id"] for p in receiver.posted}) == 2


def test_what_is_worse_or_over_does_not_wait_for_the_cool_down(configured: Configured, receiver: Receiver) -> None:
    site = configured(channels__ops=webhook(receiver.address))
    changed: list[dict[str, str]] = [{}, {"severity": "critical"}, {"occasion": "worse"}, {"occasion": "resolved"}]
    changed += [{"monitor": "kpi", "metric": "accuracy"}, {"monitor": "estimate", "metric": "accuracy"}]
    for changes in changed:
        tell(site, item(site, **changes))
        assert deliver(site, "ops")
        pass_time(site, timedelta(minutes=1))
    assert len(receiver.posted) == 6


def test_a_follow_up_never_overtakes_what_it_follows(configured: Configured, receiver: Receiver) -> None:
    receiver.answers = answer(500)
    site = configured(channels__ops=webhook(receiver.address), notify__backoff_s="600")
    tell(site, item(site))
    assert deliver(site, "ops")
    tell(site, item(site, occasion="worse"))
    receiver.answers = answer(200)
    assert deliver(site, "ops")
    assert deliver(site, "ops")
    order = [p.headers["webhook-id"] for p in receiver.posted]
    assert order == [str(messages(site)[0].id)] * 2 + [str(messages(site)[1].id)]


def test_another_incident_is_another_message(configured: Configured, receiver: Receiver) -> None:
    site = configured(channels__ops=webhook(receiver.address))
    tell(site, item(site), item(site, thread="incident:2"))
    assert deliver(site, "ops")
    assert deliver(site, "ops")
    assert not deliver(site, "ops")


def test_the_spec_may_set_its_own_cool_down(configured: Configured, receiver: Receiver) -> None:
    site = configured(channels__ops=webhook(receiver.address))
    tell(site, item(site))
    assert deliver(site, "ops")
    tell(site, item(site, occasion="again"), notify=Notify(cooldown="2h"))
    pass_time(site, HOUR + timedelta(minutes=1))
    assert not deliver(site, "ops")
    pass_time(site, HOUR)
    assert deliver(site, "ops")


def test_a_failed_try_is_repeated_with_growing_pauses_under_the_same_id_and_then_given_up_aloud(
    configured: Configured, receiver: Receiver
) -> None:
    receiver.answers = answer(500)
    with http_receiver() as other:
        site = configured(
            channels__ops=webhook(receiver.address), channels__spare=webhook(other.address), notify__attempts="4"
        )
        tell(site, item(site))
        pauses = []
        for _ in range(4):
            assert deliver(site, "ops")
            assert not deliver(site, "ops")  # not at once again
            pauses.append((messages(site)[0].run_at - site.clock.now()).total_seconds())
            pass_time(site, timedelta(minutes=10))
        assert states(site)[0] == "dead"
        assert messages(site)[0].reason == "4 tries, the last one: answered 500"
        assert [3.7 * 2**i <= pause <= 6.3 * 2**i for i, pause in enumerate(pauses[:3])] == [True] * 3
        assert {p.headers["webhook-id"] for p in receiver.posted} == {str(messages(site)[0].id)}
        assert deliver(site, "spare")
        assert b"Channel ops does not deliver" in other.posted[0].body
        receiver.answers = answer(200)
        with site.database.write() as db:
            outbox.retry(site, db, messages(site)[0].id)
        assert deliver(site, "ops")
        assert states(site)[0] == "sent"


def test_a_channel_that_does_not_deliver_is_one_alert_that_ends_when_it_does(
    configured: Configured, receiver: Receiver
) -> None:
    receiver.answers = answer(500)
    site = configured(
        channels__ops=webhook(receiver.address), channels__spare=webhook(receiver.address), notify__attempts="1"
    )
    tell(site, item(site), item(site, thread="incident:2"))
    while deliver(site, "ops") or deliver(site, "spare"):
        pass_time(site, timedelta(minutes=1))

    def alerts() -> list[tuple[str, str]]:
        with site.database.read() as db:
            return [(a.column, a.state) for a in db.scalars(select(Alert).order_by(Alert.opened_at))]

    assert alerts() == [("ops", "open"), ("spare", "open")]  # and no more, however often they die of telling it
    receiver.answers = answer(200)
    tell(site, item(site, thread="incident:3"))
    assert deliver(site, "ops")
    assert alerts() == [("ops", "resolved"), ("spare", "open")]


def test_a_receiver_may_ask_for_a_pause(configured: Configured, receiver: Receiver) -> None:
    receiver.answers = answer(429, Retry_After="900")
    site = configured(channels__ops=webhook(receiver.address))
    tell(site, item(site))
    assert deliver(site, "ops")
    assert (messages(site)[0].run_at - site.clock.now()).total_seconds() >= 900


def test_two_workers_do_not_send_the_same_message_and_a_vanished_one_is_replaced(
    configured: Configured, receiver: Receiver
) -> None:
    site = configured(channels__ops=webhook(receiver.address))
    tell(site, item(site))
    with site.database.write() as db:
        taken = outbox.claim(db, "ops", worker="a", now=site.clock.now(), lease_s=60)
    assert taken is not None
    assert not deliver(site, "ops", worker="b")
    pass_time(site, timedelta(seconds=61))
    assert deliver(site, "ops", worker="b")
    with site.database.write() as db:  # what the first one says now comes too late
        outbox.failed(site, db, taken, "no answer", None)
    assert states(site) == ["sent"]


def test_what_happens_during_a_try_goes_into_the_next_message(configured: Configured, receiver: Receiver) -> None:
    site = configured(channels__ops=webhook(receiver.address))
    tell(site, item(site))
    with site.database.write() as db:
        taken = outbox.claim(db, "ops", worker="a", now=site.clock.now(), lease_s=60)
    assert taken is not None
    tell(site, item(site, occasion="worse"))
    assert [len(m.items) for m in messages(site)] == [1, 1]


def test_a_digest_gathers_everything_until_its_hour(configured: Configured, receiver: Receiver) -> None:
    site = configured(channels__ops=webhook(receiver.address), routes__ops__digest="daily", notify__digest_hour="7")
    for number in range(3):  # the clock stands at midnight
        tell(site, item(site, thread=f"incident:{number}"))
        pass_time(site, HOUR)
    assert not deliver(site, "ops")
    pass_time(site, 5 * HOUR)
    assert deliver(site, "ops")
    assert not deliver(site, "ops")
    assert b"3 announcements about 1 model since the last digest" in receiver.posted[0].body


def test_the_end_of_an_incident_goes_into_the_digests_that_its_model_belongs_to(configured: Configured) -> None:
    site = configured(
        channels__mine="slack://a/b/c", routes__mine__digest="daily", channels__other="slack://a/b/c",
        routes__other__digest="daily", routes__other__models="fraud",
    )  # fmt: skip
    tell(site, item(site, model="fraud"), to="other")
    alarm(site)
    with site.database.write() as db:
        for alert in store.alerts(db, store.model(db, "loans").id):
            resolve_alert(site, db, alert.id, "tester", "mended")
    occasions = {m.channel: [i["occasion"] for i in m.items] for m in messages(site)}
    assert occasions["mine"][-1] == "resolved"
    assert occasions["other"] == ["opened"]


def test_messages_of_a_channel_that_is_gone_are_given_up_and_told(configured: Configured, receiver: Receiver) -> None:
    tell(configured(channels__ops=webhook(receiver.address)), item(configured()))
    site = configured(channels__spare=webhook(receiver.address))
    with site.database.write() as db:
        for dead in outbox.give_up_unset(site, db):
            undelivered.given_up(site, db, dead)
    assert deliver(site, "spare")
    assert b"its channel is no longer set" in receiver.posted[0].body


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ({}, True), ({"severity": "warning"}, True), ({"severity": "critical"}, False), ({"models": "lo*"}, True),
        ({"models": "support-*, fraud"}, False), ({"owners": "risk@*"}, True), ({"owners": "ml@example.com"}, False),
    ],
)  # fmt: skip
def test_a_route_chooses_by_severity_model_and_owner(configured: Configured, route: dict[str, str], told: bool) -> None:
    site = configured(channels__ops="slack://a/b/c", **{f"routes__ops__{k}": v for k, v in route.items()})
    assert bool(routing.chosen(site.settings, item(site), None)) is told


def test_the_spec_chooses_channels_and_if_none_of_them_is_set_all_are_told(configured: Configured) -> None:
    site = configured(channels__ops="slack://a/b/c", channels__mail="mailto://example.com")

    def chosen(notify: Notify | None) -> list[str]:
        return [c.name for c in routing.chosen(site.settings, item(site), notify)]

    assert chosen(None) == ["mail", "ops"]
    assert chosen(Notify(channels=("ops", "gone"))) == ["ops"]
    assert chosen(Notify(channels=("gone",))) == ["mail", "ops"]
    assert chosen(Notify(severity="critical")) == []


def test_a_spec_that_names_no_channel_of_the_installation_is_refused_with_those_there_are(
    configured: Configured,
) -> None:
    site = configured(channels__ops="slack://a/b/c")
    with pytest.raises(SpecError, match=r"notify\.channels\[1\]: 'opps' is no channel .*; it has ops"):
        declare(site, notify={"channels": ["ops", "opps"]})
    declare(configured(), notify={"channels": ["ops", "opps"]})  # an installation without channels, such as a replay


def test_an_alarm_during_maintenance_is_told_after_it_only_if_it_lasts(
    configured: Configured, receiver: Receiver
) -> None:
    site = configured(channels__ops=webhook(receiver.address))
    declare(site)
    send_rows(site, 1500, start=0)
    now = site.clock.now()
    with site.database.write() as db:
        maintenance.declare(site, db, "loans", now, now + 2 * HOUR, "new database", "tester")
    send_rows(site, 250, start=1500, shift=3.0)
    assert states(site) == ["held"]
    assert not deliver(site, "ops")
    pass_time(site, 3 * HOUR)
    release(site)
    assert states(site) == ["held"]  # no window since
    send_rows(site, 500, start=6000, shift=3.0)  # whose times pass the end of the maintenance
    pass_time(site, 40 * 24 * HOUR)
    release(site)
    assert deliver(site, "ops")
    assert b'"occasion": "released"' in receiver.posted[0].body


def release(site: Site) -> None:
    with site.database.write() as db:
        held.release(site, db)


def test_an_alarm_that_is_resolved_during_maintenance_is_never_told(configured: Configured, receiver: Receiver) -> None:
    site = configured(channels__ops=webhook(receiver.address))
    declare(site)
    send_rows(site, 1500, start=0)
    now = site.clock.now()
    with site.database.write() as db:
        maintenance.declare(site, db, None, now, now + 2 * HOUR, "new database", "tester")
    send_rows(site, 500, start=1500, shift=3.0)
    with site.database.write() as db:
        for alert in store.alerts(db, store.model(db, "loans").id):
            resolve_alert(site, db, alert.id, "tester", "as planned")
    pass_time(site, 3 * HOUR)
    release(site)
    assert set(states(site)) == {"quiet"}
    assert not deliver(site, "ops")


def test_the_end_of_an_incident_is_told_where_it_was_told(configured: Configured, receiver: Receiver) -> None:
    site = configured(
        channels__ops=webhook(receiver.address), channels__quiet="slack://a/b/c", routes__quiet__models="other"
    )
    alarm(site)
    while deliver(site, "ops"):
        pass
    with site.database.write() as db:
        for alert in store.alerts(db, store.model(db, "loans").id):
            resolve_alert(site, db, alert.id, "tester", "mended")
    assert deliver(site, "ops")
    assert {m.channel for m in messages(site)} == {"ops"}
    assert b'"type": "assay.incident.resolved"' in receiver.posted[-1].body


def test_old_messages_are_forgotten(configured: Configured, receiver: Receiver) -> None:
    site = configured(channels__ops=webhook(receiver.address))
    tell(site, item(site))
    assert deliver(site, "ops")
    pass_time(site, timedelta(days=31))
    with site.database.write() as db:
        outbox.forget(db, site.clock.now())
    assert messages(site) == []


def test_writers_that_meet_at_one_thread_lose_nothing(configured: Configured) -> None:
    from concurrent.futures import ThreadPoolExecutor

    site = configured(channels__ops="slack://a/b/c")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: tell(site, item(site, metric=str(i))), range(64)))
    assert sorted(int(i["metric"]) for m in messages(site) for i in m.items) == list(range(64))
    assert len(messages(site)) == 1

"""Searching events: every filter against the same rows filtered by hand, paging without gaps, bounds that say so."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from core.clock import ManualClock
from core.errors import ForbiddenError, InvalidError
from monitor.explore.filters import SearchColumn, Sort, condition, event_filter, search_columns
from monitor.explore.matching import Matching, as_stored, expression
from monitor.explore.search import Found, search
from monitor.explore.volume import stored_days, volume
from monitor.site import Site
from monitor.upkeep.export import export
from tests.databases import SQLITE_FIRST
from tests.monitor import traffic
from tests.monitor.upkeep.test_maintain import declared, stored

pytestmark = SQLITE_FIRST
ROWS = traffic.rows(300, every=timedelta(minutes=40)).with_columns(
    pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise(pl.col("region")).alias("region")
)
BY_HAND = ROWS.with_columns(pl.col("ts").str.to_datetime(time_zone="UTC")).to_dicts()
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def rows(site: Site, clock: ManualClock) -> None:
    """Ten days; the last thirty events have no outcome yet, and the last twenty are not in the table yet."""
    clock.move_to(traffic.BEGIN + timedelta(days=20))
    declared(site)
    spec = traffic.spec()
    for at in range(0, 270, 90):
        stored(site, ROWS[at : at + 90])
    typed = ROWS.with_columns(pl.col("ts").str.to_datetime(time_zone="UTC")).drop("truth")
    site.events.append_events(spec, typed[270:280], now=clock.now())
    site.events.settle("loans")
    site.events.append_events(spec, typed[280:], now=clock.now())


def asked(site: Site, *where: str, withheld: tuple[str, ...] = (), **more: Any) -> Any:
    columns = search_columns(traffic.spec(), site.events.table("loans", "events").snapshot().columns)
    return as_stored(site, traffic.spec(), event_filter(columns, where, withheld=withheld, **more))


def found(site: Site, *where: str, columns: tuple[str, ...] = (), seconds: float = 60, **more: Any) -> Found:
    return search(site, traffic.spec(), asked(site, *where, **more), columns=columns, limit=1000, seconds=seconds)


def known(row: dict[str, Any]) -> bool:
    return int(row["event_id"][1:]) < 270


CASES: list[tuple[tuple[str, ...], dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    ((), {}, lambda r: True),
    (("region:eq:north",), {}, lambda r: r["region"] == "north"),
    (("region:ne:north",), {}, lambda r: r["region"] != "north"),
    (("region:in:north,west",), {}, lambda r: r["region"] == "north"),
    (('region:in:["north","a,b"]',), {}, lambda r: r["region"] == "north"),
    (('region:in:["","north"]',), {}, lambda r: r["region"] == "north"),
    (("region:missing",), {}, lambda r: r["region"] is None),
    (("region:present", "amount:ge:0.5"), {}, lambda r: r["region"] is not None and r["amount"] >= 0.5),
    (("amount:between:-1,1",), {}, lambda r: -1 <= r["amount"] <= 1),
    (("amount:lt:-0.5",), {}, lambda r: r["amount"] < -0.5),
    (("event_id:contains:E1",), {}, lambda r: "e1" in r["event_id"]),
    (("event_id:matches:^e1[0-3]$",), {}, lambda r: r["event_id"] in ("e10", "e11", "e12", "e13")),
    (("version:eq:v2",), {}, lambda r: False),
    (("truth:eq:yes",), {}, lambda r: known(r) and r["truth"] == "yes"),
    (("truth:missing",), {}, lambda r: not known(r)),
    ((), {"outcome": "known"}, known),
    ((), {"outcome": "unknown"}, lambda r: not known(r)),
    ((), {"answer": "right"}, lambda r: known(r) and r["truth"] == r["decision"]),
    (("region:eq:north",), {"answer": "wrong"},
     lambda r: known(r) and r["truth"] != r["decision"] and r["region"] == "north"),
    (("ts:ge:2026-01-05T00:00:00Z",), {}, lambda r: r["ts"] >= datetime(2026, 1, 5, tzinfo=UTC)),
    (("customer:eq:c5",), {}, lambda r: r["customer"] == "c5"),
    ((), {"from_ts": datetime(2026, 1, 3, tzinfo=UTC), "to_ts": datetime(2026, 1, 4, 12, tzinfo=UTC)},
     lambda r: datetime(2026, 1, 3, tzinfo=UTC) <= r["ts"] < datetime(2026, 1, 4, 12, tzinfo=UTC)),
]  # fmt: skip


def test_every_filter_finds_the_rows_that_a_loop_finds_and_exports_and_counts_the_same(site: Site) -> None:
    for where, more, fits in CASES:
        wanted = [r["event_id"] for r in reversed(BY_HAND) if fits(r)]
        got = found(site, *where, **more)
        assert [r["event_id"] for r in got.rows] == wanted, (where, more)
        assert (got.next, got.reached) == (None, None)
        of = asked(site, *where, **more)
        assert volume(site, traffic.spec(), of).total == len(wanted)
        body = export(site, "loans", form="csv", from_ts=of.from_ts, to_ts=of.to_ts,
                      matching=Matching(site, traffic.spec(), of), step_rows=70).body  # fmt: skip
        lines = b"".join(body).decode().splitlines()
        assert [line.split(",")[0] for line in lines[1:]] == wanted[::-1], (where, more)


def test_a_text_is_found_however_its_accents_are_composed() -> None:
    columns = {"note": SearchColumn("note", "text")}
    notes = pl.DataFrame({"note": ["caf\u00e9", "un CAFE\u0301", "cafe", "(caf\u00e9)"]})
    for needle, count in (("caf\u00e9", 3), ("cafe\u0301", 3), ("(caf\u00e9)", 1)):
        assert notes.filter(expression(condition(columns, f"note:contains:{needle}"))).height == count


def test_pages_have_every_row_once_in_both_orders_however_small_page_and_slice(site: Site) -> None:
    of = asked(site, "region:present")
    wanted = [r["event_id"] for r in BY_HAND if r["region"] is not None]
    sorts: list[tuple[Sort, int, int]] = [("newest", 7, 20), ("oldest", 50, 64), ("oldest", 13, 1000)]
    for sort, limit, slice_rows in sorts:
        ids, cursor = list[str](), None
        while True:
            page = search(site, traffic.spec(), of, columns=["amount"], sort=sort, limit=limit, cursor=cursor,
                          slice_rows=slice_rows)  # fmt: skip
            ids += [r["event_id"] for r in page.rows]
            if (cursor := page.next) is None:
                break
        assert ids == (wanted if sort == "oldest" else wanted[::-1])


def test_a_search_that_reaches_its_bound_says_how_far_it_came_and_goes_on(site: Site) -> None:
    sorts: tuple[Sort, ...] = ("newest", "oldest")
    for sort in sorts:
        ids, cursor, stops = list[str](), None, 0
        while True:
            page = search(site, traffic.spec(), asked(site, "region:eq:north"), columns=[], sort=sort, limit=1000,
                          cursor=cursor, seconds=0, slice_rows=40)  # fmt: skip
            ids += [r["event_id"] for r in page.rows]
            stops += page.reached is not None
            if (cursor := page.next) is None:
                break
        assert stops > 3
        assert sorted(ids) == sorted(r["event_id"] for r in BY_HAND if r["region"] == "north")


def test_the_shown_columns_are_those_asked_for_and_stored_days_come_from_the_log(site: Site) -> None:
    rows = found(site, "event_id:in:e3,e299", columns=("amount", "truth", "no such")).rows
    assert [sorted(r) for r in rows] == [["amount", "event_id", "seq", "truth", "ts"]] * 2
    assert [r["truth"] for r in rows] == [None, BY_HAND[3]["truth"]]
    days = stored_days(site, "loans")
    assert sum(rows for _, rows in days) == 280
    assert days[0] == (datetime(2026, 1, 1, tzinfo=UTC).date(), 36)


WRONG = (
        ("nothing:eq:1", "it has age_band, amount, customer"), ("amount:like:1", "write one of eq, ne, in"),
        ("amount:eq:much", "'much' is no finite number"), ("amount:eq:nan", "no finite number"),
        ("amount:ge:", "there is no value"), ("amount:between:2,1", "lower value first"), ("amount", "no comparison"),
        ("amount:between:2", "two values"), ("region:matches:(", "no regular expression: unclosed group"),
        ("region:in:,", "no value between"), ("region:matches:(a{1000}){1000}", "exceeds size limit"),
        ("ts:ge:yesterday", "no time with its zone"), ("region:missing:1", "takes no value"),
        ("region:in:[1,", "JSON list"), ("region:in:[{}]", "something else"), ("customer:contains:c", "subject"),
        ("region:eq:" + "a" * 501, "501 characters"), ("region:in:" + ",".join(map(str, range(201))), "201 values"),
        ("region:eq:a\x00", "control character"), ("region:matches:(a{1000}){1000}{1000}", "no regular expression"),
)  # fmt: skip


def test_what_cannot_be_read_is_refused_with_field_value_and_fix(site: Site) -> None:
    for where, says in WRONG:
        with pytest.raises(InvalidError, match="where") as error:
            asked(site, where)
        assert says in error.value.message
        assert error.value.facts["field"] == "where"


def test_a_filter_reads_back_as_written_and_a_protected_column_is_searched_by_whoever_may_read_it(site: Site) -> None:
    with pytest.raises(ForbiddenError, match="protected column"):
        asked(site, "age_band:eq:30+", withheld=("age_band",))
    assert found(site, "age_band:eq:30+").rows
    with pytest.raises(InvalidError, match="to"):
        asked(site, from_ts=traffic.BEGIN, to_ts=traffic.BEGIN)
    with pytest.raises(InvalidError, match="cursor"):
        search(site, traffic.spec(), asked(site), columns=[], cursor="1")
    of = asked(site, 'region:in:["a,b","north"]', "amount:between:1,2.5", "region:missing", outcome="known",
               from_ts=traffic.BEGIN)  # fmt: skip
    where = [value for name, value in of.parameters if name == "where"]
    assert asked(site, *where, outcome="known", from_ts=traffic.BEGIN) == of
    assert dict(of.parameters)["from"] == "2026-01-01T00:00:00Z"

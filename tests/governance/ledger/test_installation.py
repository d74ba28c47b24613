"""A home folder may be moved; a copy that is started beside its original goes on under an origin of its own."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core import settings
from core.clock import ManualClock
from core.errors import InvalidError
from governance.ledger.append import append_entry
from governance.ledger.extends import places_of
from governance.ledger.installation import FILE
from governance.ledger.keys import earlier_vkeys
from governance.ledger.read import ledger_entries, ledger_lines
from governance.ledger.selfcheck import verify_ledger
from governance.proof.vkey import VerifierKey
from governance.verify.log import verify_log
from monitor.site import Site, open_site

ORIGIN = "assay.local/ledger"


@contextmanager
def opened(home: Path, clock: ManualClock, **more: Any) -> Iterator[Site]:
    site = open_site(settings.load({}, home=home, **more), clock)
    try:
        yield site
    finally:
        site.close()


def work(site: Site, entries: int = 2) -> None:
    """Some entries, and a checkpoint over all."""
    with site.database.write() as db:
        for _ in range(entries):
            append_entry(db, kind="model.spec", actor="a", subject="model:m", body={}, at=site.clock.now())
        site.sign_ledger(db)


def notes(site: Site) -> list[str]:
    return [path.read_text() for path in sorted(site.settings.anchor_dir.glob("checkpoint-*.note"))]


def changes(site: Site) -> list[str]:
    with site.database.read() as db:
        return [entry["kind"] for entry in ledger_entries(db, ("ledger.origin", "home.moved"))]


def findings(site: Site) -> list[str]:
    vkeys = [site.keys.vkey, *earlier_vkeys(site.settings.home_dir)]
    with site.database.read() as db:
        return [str(f) for f in verify_ledger(db, places=places_of(site.settings), vkeys=vkeys).findings]


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path, clock: ManualClock) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(sqlite_template, folder / "assay.db")
    with opened(folder, clock) as site:
        work(site)
    return folder


def test_a_copy_beside_its_original_gets_an_origin_of_its_own(home: Path, tmp_path: Path, clock: ManualClock) -> None:
    copy = shutil.copytree(home, tmp_path / "copy")
    with opened(copy, clock) as site:
        work(site)
        name = site.keys.signing.name
        assert name.startswith(f"{ORIGIN}/copy-")
        assert changes(site) == ["ledger.origin"]
        assert findings(site) == []
        with site.database.read() as db:
            log, signed = list(ledger_lines(db)), notes(site)
    with opened(home, clock) as original:  # which goes on as before
        work(original, 5)
        assert (original.keys.signing.name, changes(original), findings(original)) == (ORIGIN, [], [])
        known = original.keys.vkey
    verdict = verify_log(log, signed, [known])  # by somebody who trusts the original's key alone
    assert verdict.findings == ()
    assert verdict.facts.origin == name
    with opened(copy, clock) as again:  # once is enough
        assert (again.keys.signing.name, changes(again)) == (name, ["ledger.origin"])


def test_a_copy_of_a_copy_is_told_from_it_and_the_chain_verifies(
    home: Path, tmp_path: Path, clock: ManualClock
) -> None:
    with opened(home, clock) as site:
        first = site.keys.vkey
    for number in range(2):
        copied = shutil.copytree(tmp_path / ("copy" if number else "home"), tmp_path / ("third" if number else "copy"))
        with opened(copied, clock) as site:
            work(site)
            assert findings(site) == []
            assert changes(site) == ["ledger.origin"] * (number + 1)
    with opened(copied, clock) as site, site.database.read() as db:
        assert verify_log(list(ledger_lines(db)), notes(site), [first]).ok
        assert VerifierKey.parse(site.keys.vkey).name.count("/copy-") == 1


def test_a_moved_home_keeps_its_origin_and_records_the_move(home: Path, tmp_path: Path, clock: ManualClock) -> None:
    moved = home.rename(tmp_path / "elsewhere")
    for _ in range(2):
        with opened(moved, clock) as site:
            work(site)
            assert (site.keys.signing.name, changes(site), findings(site)) == (ORIGIN, ["home.moved"], [])
    with opened(moved.rename(home), clock) as site:
        assert changes(site) == ["home.moved", "home.moved"]


def test_another_name_of_the_same_folder_is_neither(home: Path, tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "link").symlink_to(home)
    with opened(tmp_path / "link", clock) as site:
        assert changes(site) == []


def test_a_home_of_an_earlier_release_opens_as_it_is(home: Path, clock: ManualClock) -> None:
    (home / FILE).unlink()
    with opened(home, clock) as site:
        assert (site.keys.signing.name, changes(site)) == (ORIGIN, [])
    assert json.loads((home / FILE).read_text())["path"] == str(home)


def test_a_copy_may_be_given_its_origin_by_the_settings(home: Path, tmp_path: Path, clock: ManualClock) -> None:
    copy = shutil.copytree(home, tmp_path / "copy")
    for _ in range(2):
        with opened(copy, clock, ledger={"origin": "staging.test/ledger"}) as site:
            assert (site.keys.signing.name, changes(site)) == ("staging.test/ledger", ["ledger.origin"])


def test_a_copy_does_not_write_into_the_anchor_of_its_original(home: Path, tmp_path: Path, clock: ManualClock) -> None:
    anchor = tmp_path / "anchor"
    with opened(home, clock, ledger={"anchor": anchor}) as site:
        work(site)
    copy = shutil.copytree(home, tmp_path / "copy")
    with pytest.raises(InvalidError, match=r"set ASSAY_LEDGER__ANCHOR to an empty folder"):
        open_site(settings.load({}, home=copy, ledger={"anchor": anchor}), clock)
    own = tmp_path / "own"
    with opened(copy, clock, ledger={"anchor": own}) as site:
        work(site)
        assert findings(site) == []


def test_a_copy_whose_start_died_half_way_starts_again(home: Path, tmp_path: Path, clock: ManualClock) -> None:
    copy = shutil.copytree(home, tmp_path / "copy")
    before = {name: (copy / name).read_bytes() for name in (FILE, "keys/ledger.key", "keys/ledger.vkey")}
    with opened(copy, clock):
        pass
    for name, content in before.items():  # as if the process had died after its entry was committed
        (copy / name).write_bytes(content)
    (copy / "keys" / "earlier.vkeys").unlink()
    with opened(copy, clock) as site:
        work(site)
        assert changes(site) == ["ledger.origin"] * 2
        assert findings(site) == []

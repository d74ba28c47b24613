"""The installation's own secrets: made once, private, and never silently replaced."""

import stat
import threading
from pathlib import Path

import pytest

from core.errors import IntegrityFailureError
from governance.ledger.keys import Keys, load_or_create

ORIGIN = "assay.test/log"


def test_keys_are_made_once_and_are_for_the_owner_only(tmp_path: Path) -> None:
    first, again = load_or_create(tmp_path, ORIGIN), load_or_create(tmp_path, ORIGIN)
    assert (first.vkey, first.subject, first.session) == (again.vkey, again.subject, again.session)
    for name in ("ledger.key", "subject.key", "session.key"):
        assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600
    assert (tmp_path / "keys" / "ledger.vkey").read_text().strip() == first.vkey
    assert "PRIVATE" not in repr(first)


def test_processes_that_start_together_share_the_keys(tmp_path: Path) -> None:
    made: list[Keys] = []
    threads = [threading.Thread(target=lambda: made.append(load_or_create(tmp_path, ORIGIN))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(k.vkey, k.subject, k.session) for k in made}) == 1
    assert not list((tmp_path / "keys").glob(".*"))


def test_a_lost_subject_key_is_not_replaced_by_another(tmp_path: Path) -> None:
    load_or_create(tmp_path, ORIGIN)
    (tmp_path / "keys" / "subject.key").unlink()
    with pytest.raises(IntegrityFailureError, match=r"subject\.key is gone; restore it"):
        load_or_create(tmp_path, ORIGIN)


def test_a_damaged_ledger_key_is_named(tmp_path: Path) -> None:
    load_or_create(tmp_path, ORIGIN)
    (tmp_path / "keys" / "ledger.key").write_text("nonsense\n")
    with pytest.raises(IntegrityFailureError, match=r"ledger\.key is damaged"):
        load_or_create(tmp_path, ORIGIN)


def test_a_log_cannot_change_its_name(tmp_path: Path) -> None:
    load_or_create(tmp_path, ORIGIN)
    with pytest.raises(IntegrityFailureError, match=r"signs for 'assay\.test/log'"):
        load_or_create(tmp_path, "assay.other/log")

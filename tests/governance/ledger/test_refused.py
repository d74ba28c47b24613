"""What goes on, and what waits, while the ledger is not signed."""

from api.processes import ledger_watch
from governance import erasure
from monitor.site import Site
from retrain.erasure import service
from tests.governance.ledger.test_rollback import cut, database_url, recover, signed

__all__ = ["database_url", "signed"]


def test_the_proof_of_an_erasure_waits_until_the_log_is_signed_again(signed: Site) -> None:
    cut(signed, 7, database=False)
    assert ledger_watch.sign_at_start(signed)
    with signed.database.write() as db:
        asked = erasure.request(db, subject="c9", models=[], actor="dpo", now=signed.clock.now()).id
    retry = service.run(signed, asked)
    assert retry is not None
    assert "assay ledger recover" in retry.reason
    with signed.database.read() as db:
        row = erasure.erasure(db, asked)
        assert (row.state, "its proof waits" in (row.error or "")) == ("running", True)
    recover(signed)
    assert service.run(signed, asked) is None
    with signed.database.read() as db:
        assert erasure.erasure(db, asked).state == "done"


def test_leaves_that_a_lost_end_left_behind_stop_nothing(signed: Site) -> None:
    with signed.database.write() as db:
        erasure.request(db, subject="c9", models=[], actor="dpo", now=signed.clock.now())
    cut(signed, 7, database=False)  # whoever drops entries may forget the table beside them
    assert ledger_watch.sign_at_start(signed)
    with signed.database.write() as db:
        for subject in ("c1", "c2", "c3", "c4"):
            erasure.request(db, subject=subject, models=[], actor="dpo", now=signed.clock.now())

"""Find what drove an alert once for each of its episodes, in a process of its own, and store it with the alert."""

import json
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID, uuid4

from core.errors import AppError, BusyError
from core.held_folder import held_folder
from core.logs import logger
from core.process import Child
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import store
from monitor.alerts.findings import EXPLAINED, findings
from monitor.alerts.headlines import told_window
from monitor.confirm.confirm import AlertContext, alert_context
from monitor.finding_tables import AlertFinding
from monitor.site import Site
from monitor.why.gather import Question, question

MOST_CLUSTERS: Final = 5
LIMIT_S: Final = 300.0  # of the process; it takes seconds
log = logger("monitor.why.service")


class WhyProcessError(AppError):
    """The process that looks for what drove an alert did not end well."""

    code = "why_process"


class WhyProcessKilledError(RuntimeError):
    """Something ended the process; what it was about may well be found by another try."""


def explain_alert(site: Site, alert_id: UUID) -> None:
    """Look for what drove an alert in the window it was told for; without effect where that was done before.

    A look that fails is stored with its reason, so that it holds up nothing and is not tried for ever.

    Raises:
        AlertNotFoundError: no alert has this id.
        BusyError: the job must be retried.
        WhyProcessKilledError: the same, a few times.
    """
    with site.database.read() as db:
        alert = store.alert(db, alert_id)
        if alert.monitor not in EXPLAINED or told_window(alert) is None:
            return
        about = alert_context(db, alert)
        if any(row.window_id == about.window.id for row in findings(db, [alert_id])[alert_id]):
            return
    try:
        found = _looked(site, question(site, alert, about))
    except BusyError:
        raise
    except AppError as error:
        found = {"error": error.message}
    if alert.monitor == "drift" and "figures" in found:
        found["figures"]["clusters"] = _clusters(about)
    _store(site, alert_id, about, found)


def _clusters(about: AlertContext) -> list[dict[str, Any]]:
    """The clusters of the reference's texts whose share changed most, with the words by which they are known."""
    found = [
        {"column": part["column"].removesuffix(".cluster"), "words": c["words"], "reference": c["reference"],
         "window": c["current"]}
        for part in about.window.decision.get("columns", ())
        for c in part.get("clusters", ())
    ]  # fmt: skip
    return sorted(found, key=lambda c: -abs(c["window"] - c["reference"]))[:MOST_CLUSTERS]


def _looked(site: Site, asked: Question) -> dict[str, Any]:
    """Ask in a process of its own; its folder, which holds rows, is removed afterwards."""
    with held_folder(site.settings.home_dir / "runs", "explain-") as folder:
        for side in ("reference", "window"):
            getattr(asked, side).write_parquet(folder / f"{side}.parquet")
        plain = {
            "about": asked.about, "kinds": dict(asked.kinds), "parts": list(asked.parts), "person": asked.person,
            "words": asked.words, "among": asked.among, "units": dict(asked.units), "column": asked.column,
            "set_aside": [asdict(one) for one in asked.set_aside],
        }  # fmt: skip
        (folder / "question.json").write_text(json.dumps(plain), encoding="utf-8")
        child = Child("monitor.why.look", [str(folder)], log=folder / "log.txt", threads=1)
        code = child.wait(LIMIT_S, lambda: None, every_s=0.5)
        if code is None:
            raise WhyProcessError(f"it took longer than {LIMIT_S:.0f} s")
        if code < 0:  # for its memory, or with the machine; the job is tried again, a few times
            raise WhyProcessKilledError(f"the process that looks for it was killed by signal {-code}")
        if code:
            log.warning("process failed", code=code)
            raise WhyProcessError("the process failed; its worker's log has the code")
        answer: dict[str, Any] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        return answer


def _store(site: Site, alert_id: UUID, about: AlertContext, found: dict[str, Any]) -> None:
    """Store a finding, unless another worker was faster. The ledger has what was found, never in which words."""
    failed = f"It could not be looked for: {found['error']}." if "error" in found else ""
    now = site.clock.now()
    with site.database.write() as db:
        store.alert(db, alert_id, lock=True)
        if any(row.window_id == about.window.id for row in findings(db, [alert_id])[alert_id]):
            return
        row = AlertFinding(
            id=uuid4(), alert_id=alert_id, window_id=about.window.id, state=found.get("state", "failed"),
            sentence=failed or found["sentence"], figures=found.get("figures", {}),
            examples=found.get("examples", []), created_at=now,
        )  # fmt: skip
        db.add(row)
        columns = [driver["column"] for driver in row.figures.get("drivers", ())]
        append_entry(
            db, kind="alert.explained", actor=SYSTEM_ACTOR, subject=f"model:{about.model.name}", at=now,
            body={
                "alert": alert_id, "window": about.window.id, "finding": row.id, "state": row.state, "columns": columns,
            },
        )  # fmt: skip

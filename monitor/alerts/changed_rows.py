"""Look every hour whether rows are as the ledger bound them; one alert for each model whose rows are not."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from governance.binding.check import check_rows
from governance.binding.wording import changed_words
from monitor.alerts import by_clock, store
from monitor.alerts.headlines import Alarm
from monitor.site import Site
from monitor.tables import Alert, Model

MONITOR: Final = "system"
ROWS: Final = "changed_rows"
WHOLE: Final = "installation"  # what belongs to no model


def watch(site: Site) -> None:
    """Open, continue and end the alerts about changed rows."""
    now = site.clock.now()
    with site.database.read() as db:
        verdict = check_rows(db)
        models = {str(model.id): model.name for model in db.scalars(select(Model))}
    wrong: dict[str, list[int]] = {}
    for number, finding in enumerate(verdict.findings):
        owners = verdict.about[finding][1] if finding in verdict.about else {None}
        for owner in owners:
            wrong.setdefault(models.get(owner or "", WHOLE), []).append(number)
    if not wrong and not verdict.rows:
        return
    with site.database.write() as db:
        for name, numbers in wrong.items():
            sentence = changed_words([verdict.findings[number] for number in numbers])
            alarm = Alarm(MONITOR, ROWS, name, float(len(numbers)), 0.0, sentence, "critical", (name,))
            known = _unresolved(db, name)
            if known is None:
                by_clock.open_alert(site, db, None, alarm, now, {})
            elif known.sentence != sentence:
                by_clock.continue_alert(site, db, known.id, alarm)
        for alert in store.system_alerts(db, MONITOR, ROWS):
            if alert.episodes[-1]["ended"] is None and alert.column not in wrong:
                by_clock.end_alert(site, db, alert.id, now)


def standing(db: Session, models: Sequence[str]) -> dict[str, str]:
    """What is known to be wrong with the rows of these models, or with those of none; only where something is."""
    told = [a for a in store.system_alerts(db, MONITOR, ROWS) if a.episodes[-1]["ended"] is None]
    found = {name: [a.sentence for a in told if a.column in (name, WHOLE)] for name in models}
    return {name: sentences[-1] for name, sentences in found.items() if sentences}


def _unresolved(db: Session, name: str) -> Alert | None:
    found = [a for a in store.system_alerts(db, MONITOR, ROWS) if a.column == name and a.state != "resolved"]
    return found[-1] if found else None

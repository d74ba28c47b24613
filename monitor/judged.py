"""Up to which number the rows of a model have been read, as the database says."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from core.db import Database
from monitor.tables import LaterVerdict, Model, ReferenceRow, Window


def judged_in(database: Database) -> Callable[[str, str], int]:
    """One past the last number of a model's events or outcomes that a verdict or a reference has read; 0 if none."""

    def judged(model: str, kind: str) -> int:
        if kind not in ("events", "outcomes"):
            return 0
        with database.read() as db:
            found = db.execute(select(Model.id, Model.next_outcome).where(Model.name == model)).first()
            if found is None:
                return 0
            model_id, next_outcome = found
            if kind == "outcomes":
                seen = [next_outcome, *_highest(db, model_id, Window.next_outcome)]
            else:
                of = ReferenceRow
                columns = of.from_seq, of.to_seq, of.windows_seq, of.profiled_seq, of.settled_seq
                row = db.execute(select(*map(func.max, columns)).where(of.model_id == model_id)).one()
                seen = [*row, *_highest(db, model_id, Window.to_seq, Window.judged_seq)]
                later = select(func.max(LaterVerdict.judged_seq)).join(Window, Window.id == LaterVerdict.window_id)
                seen.append(db.scalar(later.where(Window.model_id == model_id)))
        return max((number for number in seen if number is not None), default=0)

    return judged


def _highest(db: Any, model_id: Any, *columns: Any) -> list[int | None]:
    return list(db.execute(select(*map(func.max, columns)).where(Window.model_id == model_id)).one())

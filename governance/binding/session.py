"""Bind what a transaction changes: one ledger entry with a root over its rows, appended in the same transaction.

It listens to the sessions of a database, so code that adds, changes or deletes objects of bound tables need not ask for
it. Statements without objects pass it by: whoever inserts rows that way names them with `bind_inserted`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import event, inspect
from sqlalchemy.orm import InstanceState, Mapper, Session

from core.clock import Clock
from core.db import Bound, Database
from governance.binding.entries import append_leaves, counted, leaf
from governance.binding.found import find_rows
from governance.binding.values import bound_columns, keys_of, mapper_of, plain_of, plain_of_mapping, table_of
from governance.verify.rows import ADDED, BOUND, CHANGED, REMOVED, Key, encode

_KEPT: Final = "governance.binding"  # in Session.info


@dataclass
class _Changes:
    """What a transaction has flushed so far, by row."""

    added: dict[Key, Any] = field(default_factory=dict)  # its object
    changed: dict[Key, tuple[Any, dict[str, Any]]] = field(default_factory=dict)  # its object, and values before
    removed: dict[Key, None] = field(default_factory=dict)
    inserted: list[tuple[Key, Mapper[Any], Mapping[str, Any]]] = field(default_factory=list)  # without objects
    erasure: UUID | None = None


def bind_sessions(database: Database, clock: Clock) -> None:
    """Bind every later transaction of `database.write()`."""
    event.listen(database.writers, "after_flush", _collect)
    event.listen(database.writers, "before_commit", partial(_bind, clock))
    event.listen(database.writers, "after_soft_rollback", _forget)


def bind_inserted(db: Session, table: type[Bound], rows: Sequence[Mapping[str, Any]]) -> None:
    """Bind rows that the caller inserts by a statement; each must hold its keys."""
    mapper = inspect(table)
    assert mapper is not None
    into = _changes(db).inserted
    for row in rows:
        ident = "/".join(str(row[name]) for name in keys_of(mapper))
        into.append(((table_of(mapper).name, ident), mapper, row))


def because_of_erasure(db: Session, erasure: UUID) -> None:
    """Say in the entry of this transaction that an erasure is why: what its rows held before is to be withheld."""
    _changes(db).erasure = erasure


def _changes(db: Session) -> _Changes:
    found: _Changes = db.info.setdefault(_KEPT, _Changes())
    return found


def key_of(row: Any, mapper: Mapper[Any]) -> Key:
    return table_of(mapper).name, "/".join(str(getattr(row, name)) for name in keys_of(mapper))


def _collect(db: Session, _: Any) -> None:
    """Note what a flush has written, while the objects still know what they held before."""
    into = None
    for row in db.new:
        if isinstance(row, Bound):
            into = into or _changes(db)
            key = key_of(row, mapper_of(row))
            into.added[key] = row
    for row in db.dirty:
        if isinstance(row, Bound) and (before := _before(row)):
            into = into or _changes(db)
            key = key_of(row, mapper_of(row))
            if key not in into.added:
                known = into.changed.setdefault(key, (row, {}))[1]
                for name, value in before.items():
                    known.setdefault(name, value)
    for row in db.deleted:
        if isinstance(row, Bound):
            into = into or _changes(db)
            key = key_of(row, mapper_of(row))
            into.changed.pop(key, None)
            if into.added.pop(key, None) is None:
                into.removed[key] = None


_UNKNOWN: Final = object()  # what a column held was not read before it was changed


def _before(row: Any) -> dict[str, Any]:
    """The bound columns of an object that were set, with what they held, as JSON."""
    state: InstanceState[Any] = inspect(row)
    found: dict[str, Any] = {}
    for name, attribute, rule in bound_columns(state.mapper):
        if attribute in state.committed_state:
            history = state.attrs[attribute].history
            if history.deleted:
                old = history.deleted[0]
                found[name] = None if old is None else rule(old)
            elif history.added:
                found[name] = _UNKNOWN
    return found


def _forget(db: Session, previous: Any) -> None:
    if not db.in_transaction() or previous.parent is None:
        db.info.pop(_KEPT, None)


def _bind(clock: Clock, db: Session) -> None:
    if db.in_nested_transaction():
        return
    db.flush()
    changes: _Changes | None = db.info.pop(_KEPT, None)
    if changes is None:
        return
    now = clock.now()
    added = {key: row for key, row in changes.added.items() if row in db}  # not of a savepoint that was rolled back
    found = find_rows(db, now, except_for={*added, *(key for key, _, _ in changes.inserted)})
    leaves = [(ADDED, key, encode(plain_of(row, mapper_of(row)))) for key, row in added.items()]
    leaves += [(ADDED, key, encode(plain_of_mapping(row, mapper))) for key, mapper, row in changes.inserted]
    for key, (row, before) in changes.changed.items():
        known = {name: old for name, old in before.items() if name not in found.get(key[0], ())}
        if row in db and (differs := _differs(row, known)):
            leaves.append((CHANGED, key, encode(differs)))
    leaves += [(REMOVED, key, "{}") for key in changes.removed]
    if not leaves:
        return
    body: dict[str, Any] = {"tables": counted(Counter((key[0], op) for op, key, _ in leaves))}
    if changes.erasure is not None:
        body["erasure"] = changes.erasure
    append_leaves(db, BOUND, [leaf(op, key, values) for op, key, values in leaves], body, now)


def _differs(row: Any, before: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Before and after of the columns that hold another value now."""
    now = plain_of(row, mapper_of(row))
    return {
        name: [now[name]] if old is _UNKNOWN else [old, now[name]]
        for name, old in before.items()
        if old is _UNKNOWN or encode(old) != encode(now[name])
    }


def bind_rows(db: Session, rows: Iterable[Bound]) -> None:
    """Bind rows that a statement of the caller has inserted, as they are read back."""
    for row in rows:
        mapper = mapper_of(row)
        _changes(db).inserted.append(
            (
                key_of(row, mapper),
                mapper,
                {name: getattr(row, attribute) for name, attribute, _ in bound_columns(mapper)},
            )
        )

"""The peer of the ingest benchmark: a FastAPI endpoint that validates with pydantic and bulk-inserts into SQLite.

    python -m bench.load.bulk_insert DATABASE FIELDS

FIELDS is a JSON object of field names and types. It prints its URL as JSON and serves until it is ended.
"""

import asyncio
import json
import socket
import sys
from datetime import datetime
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel, TypeAdapter, create_model
from sqlalchemy import JSON, Column, DateTime, Engine, MetaData, String, Table, create_engine, event, insert

KINDS = {"number": float, "boolean": bool}
META = MetaData()
EVENTS = Table(
    "events", META, Column("event_id", String, primary_key=True), Column("ts", DateTime, index=True),
    Column("version", String), Column("row", JSON),
)  # fmt: skip


def opened(path: str) -> Engine:
    engine = create_engine("sqlite:///" + path)

    @event.listens_for(engine, "connect")
    def tune(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    META.create_all(engine)
    return engine


def create_app(engine: Engine, fields: dict[str, str]) -> FastAPI:
    declared: dict[str, Any] = {name: (KINDS.get(kind, str) | None, None) for name, kind in fields.items()}
    row = create_model("Row", event_id=(str, ...), ts=(datetime, ...), version=(str, ...), **declared)
    rows: TypeAdapter[list[BaseModel]] = TypeAdapter(list[row])  # type: ignore[valid-type]  # made at run time

    def store(body: bytes, ndjson: bool) -> int:
        checked = rows.validate_json(b"[" + b",".join(body.split(b"\n")) + b"]" if ndjson else body)
        values = [
            {"event_id": r.event_id, "ts": r.ts, "version": r.version,
             "row": r.model_dump(mode="json", exclude={"event_id", "ts", "version"})}
            for r in checked
        ]  # fmt: skip
        with engine.begin() as db:
            db.execute(insert(EVENTS), values)
        return len(values)

    app = FastAPI()

    @app.post("/events")
    async def take(request: Request) -> dict[str, int]:
        body = await request.body()
        return {"accepted": await asyncio.to_thread(store, body, "ndjson" in request.headers["content-type"])}

    return app


def main() -> None:
    app = create_app(opened(sys.argv[1]), json.loads(sys.argv[2]))
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()

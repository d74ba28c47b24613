"""The steps of the demo in order, from an empty folder to a verified audit bundle."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import SecretStr
from rich.table import Table

from api.client import Client
from api.demo.plan import DemoPlan, make_plan
from api.demo.processes import Service, predict
from api.demo.settings import Setup
from api.demo.spec import MODEL, demo_declarations, demo_spec
from api.demo.story import Story
from core.clock import SystemClock
from core.settings import ClientSettings
from governance.proof.note import open_note
from governance.verify.bundle import verify_bundle

RECOVERED_SHARE = 0.65  # of the accuracy lost, that the retrain must win back on the same later traffic
OLD_POINTS = 0.04  # accuracy on the known intents that the retrain may cost
Watcher = Callable[[dict[str, Any]], bool]  # sees each window as it closes; True ends the traffic
FINAL = ("promoted", "rejected", "failed", "awaiting_approval")


def run(story: Story, setup: Setup) -> dict[str, Any]:
    """Run the loop and return the facts of the final table.

    Raises:
        LoopNotClosedError: a step of the loop did not happen.
    """
    began = time.monotonic()
    plan = make_plan(
        setup.messages, window_rows=setup.window_rows, end=SystemClock().now().replace(microsecond=0), seed=story.seed
    )
    story.chapter("A model is trained and goes into production")
    story.say(f"Messages: {setup.messages.source}. The arrival order is simulated.")
    story.say(
        f"v1 learns {len(plan.old_intents)} intents from {plan.training.height} messages; "
        f"{len(plan.new_intents)} others come later."
    )
    service = Service(story.folder / "home")
    try:
        base = story.make_first_model(plan)
        story.say(f"v1 is trained ({_seconds(began)}).")
        facts = _loop(story, plan, base, service, setup)
    finally:
        service.stop()
    return facts | {"seconds": round(time.monotonic() - began, 1)}


@dataclass(frozen=True)
class _Context:
    """What the steps share: the story, its traffic, the service and two clients of it."""

    story: Story
    plan: DemoPlan
    base: Path
    admin: Client
    producer: Client
    v1: pl.DataFrame  # answers of v1 to the quiet, the drifted and the later traffic
    known: float  # accuracy of v1 on the rows of the reference

    @property
    def home(self) -> Path:
        return self.story.folder / "home"

    @property
    def vkey(self) -> str:
        return (self.home / "keys" / "ledger.vkey").read_text().strip()

    def send(
        self, rows: pl.DataFrame, answers: pl.DataFrame, version: str, after_each: Watcher, *, closed: int = 0
    ) -> int:
        return self.story.stream(
            self.admin, self.producer, rows, answers, rows=self.plan.window_rows, version=version, name=version,
            after_each=after_each, closed=closed,
        )  # fmt: skip


def _loop(story: Story, plan: DemoPlan, base: Path, service: Service, setup: Setup) -> dict[str, Any]:
    context = _opened(story, plan, base, service)
    _declare(context, service, setup)
    sent, closed = _quiet_traffic(context)
    drifted, first = _drift(context, closed)
    run_, champion = _retrain(context)
    kpi = _recovery(context, champion)
    files = _audit(context, kpi)
    admin = context.admin
    return kpi | {
        "events": sent + drifted + plan.later.height, "windows": len(story.windows(admin)),
        "champion": champion["version"],
        "page_key": admin.json("POST", "/api/v1/keys", json={"name": "demo-pages", "role": "operator"})["key"],
        "first_alarm_window": first["number"], "drift_words": story.facts["drift_words"], "run": run_["id"],
        "files": {kind: str(path) for kind, path in files.items()}, "home": str(context.home),
    }  # fmt: skip


def _opened(story: Story, plan: DemoPlan, base: Path, service: Service) -> _Context:
    seen = pl.concat([plan.quiet, plan.drift, plan.later])
    v1 = predict(seen["text"].to_list(), [{"name": "v1", "base_dir": str(base)}])
    held_out = plan.quiet[: plan.baseline_rows]
    known = (v1[: plan.baseline_rows]["v1.label"] == held_out["category"]).mean()
    service.wait_until_ready()
    admin = Client(ClientSettings(url=service.url, key=SecretStr(service.admin_key)))
    key = admin.json("POST", "/api/v1/keys", json={"name": "support-app", "role": "producer"})["key"]
    producer = Client(ClientSettings(url=service.url, key=SecretStr(key)))
    return _Context(story, plan, base, admin, producer, v1, float(known))  # type: ignore[arg-type]  # a share, rows are not empty


def _declare(context: _Context, service: Service, setup: Setup) -> None:
    """Apply the spec, and register what v1 was trained on."""
    # Relative to the home folder, so that nothing that leaves it tells where on this machine it lies.
    base_model = os.path.relpath(context.base, context.home)
    spec = demo_spec(
        context.plan, base_model=base_model, kpi_min=round(context.known - 0.08, 2), min_outcomes=setup.min_outcomes,
        recipe=setup.recipe,
    )  # fmt: skip
    answer = context.admin.json("PUT", f"/api/v1/models/{MODEL}", json=spec)
    context.story.say(f"Spec revision {answer['revision']} is in the ledger; service at {service.url}")
    training = context.plan.training.select("text", pl.col("category").alias("label"))
    path = context.story.folder / "v1-training.parquet"
    training.write_parquet(path)
    context.admin.json(
        "POST", f"/api/v1/models/{MODEL}/datasets", params={"name": "v1-training", "role": "train"},
        content=path.read_bytes(), headers={"content-type": "application/vnd.apache.parquet"},
    )  # fmt: skip
    for declared in demo_declarations():
        context.admin.json("POST", f"/api/v1/models/{MODEL}/provenance", json=declared)


def _quiet_traffic(context: _Context) -> tuple[int, int]:
    """Events sent and windows closed before anything drifts."""
    story, plan = context.story, context.plan
    story.chapter("Quiet traffic: the reference is collected, windows are judged")
    sent = context.send(plan.quiet, context.v1[: plan.quiet.height], "v1", lambda w: _say_window(story, w))
    windows = story.windows(context.admin)
    alarms = [w for w in windows if w["verdict"] == "alarm"]
    story.expect(not alarms, f"false alarm before anything changed: {[w['sentence'] for w in alarms]}")
    story.say(f"{sent} events, {len(windows)} windows, no alarm.")
    return sent, len(windows)


def _drift(context: _Context, closed: int) -> tuple[int, dict[str, Any]]:
    """Events sent until a retrain starts, and the first window with new intents, which must alarm."""
    story, plan, admin = context.story, context.plan, context.admin
    story.chapter("Customers start asking about things the model never saw")
    story.say(f"New intents: {', '.join(plan.new_intents[:5])}{' ...' if len(plan.new_intents) > 5 else ''}")
    first: list[dict[str, Any]] = []
    fired = False

    def watch(window: dict[str, Any]) -> bool:
        nonlocal fired
        _say_window(story, window)
        if not first:
            story.expect(window["verdict"] == "alarm", "the first window with new intents raised no alarm")
            first.append(window)
            _handle_alert(story, admin)
            _why(story, plan, admin)
        decision = _latest_decision(story, admin)
        story.say(f"Retrain {'starts' if decision['fired'] else 'not yet'}: {decision['reason']}")
        fired = bool(decision["fired"])
        return fired

    sent = context.send(plan.drift, context.v1[plan.quiet.height :], "v1", watch, closed=closed)
    story.expect(fired, "the drift never led to a retrain: too few labelled messages of the new kind arrived")
    _explain_one(story, admin, plan.drift["event_id"][0])
    return sent, first[0]


def _retrain(context: _Context) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run and the champion it promoted, whose signature is checked."""
    story = context.story
    story.chapter("A QLoRA retrain inside the declared envelope")
    run_ = _follow_run(story, context.admin)
    champion: dict[str, Any] = context.admin.json("GET", f"/api/v1/models/{MODEL}/champion")
    story.expect(run_["state"] == "promoted", f"the run ended as {run_['state']}: {run_.get('error')}")
    version = champion["version"]
    story.expect(version != "v1", "the champion is still v1")
    signed = json.loads(open_note(champion["signature"], [context.vkey]).text)
    same = all(signed[name] == champion[name] for name in ("version", "adapter_digest", "base_digest"))
    story.expect(same, "the champion's signature covers another version")
    story.say(f"Champion is now {version}, adapter {champion['adapter_digest'][:19]}...; its signature is valid.")
    return run_, champion


def _recovery(context: _Context, champion: dict[str, Any]) -> dict[str, Any]:
    """Accuracies on the traffic that follows, answered by the new champion; alerts are resolved."""
    story, plan, admin, version = context.story, context.plan, context.admin, champion["version"]
    story.chapter("Recovery: the new champion answers the traffic that follows")
    adapter = champion["adapter_uri"].removeprefix("file://")
    answers = predict(
        plan.later["text"].to_list(), [{"name": version, "base_dir": str(context.base), "adapter_dir": adapter}]
    )
    later = pl.concat([context.v1.tail(plan.later.height), answers], how="horizontal")
    context.send(plan.later, later, version, lambda w: _say_window(story, w), closed=len(story.windows(admin)))
    for alert in admin.json("GET", f"/api/v1/models/{MODEL}/alerts")["items"]:
        if alert["state"] != "resolved":
            note = {"note": f"{version} promoted and back on its KPI"}
            admin.json("POST", f"/api/v1/alerts/{alert['id']}/resolve", json=note)
    return _accuracies(plan, later, version, known=context.known)


def _audit(context: _Context, kpi: dict[str, Any]) -> dict[str, Path]:
    """The report's files, verified offline; the loop must have won back enough."""
    story = context.story
    story.chapter("The audit report, verified offline")
    files = _report(story, context.admin)
    verdict = verify_bundle(files["zip"], [context.vkey])
    story.expect(verdict.ok, f"the bundle does not verify: {[str(f) for f in verdict.findings]}")
    story.say(
        f"Bundle verifies: {verdict.facts.entries} ledger entries, {len(verdict.facts.files)} files, {verdict.trust}."
    )
    story.expect(
        kpi["recovered"] >= RECOVERED_SHARE,
        f"the retrain won back {kpi['recovered']:.0%} of the loss, less than {RECOVERED_SHARE:.0%}",
    )
    story.expect(
        kpi["old_points"] <= OLD_POINTS, f"accuracy on the known intents fell by {100 * kpi['old_points']:.1f} points"
    )
    return files


def _say_window(story: Story, window: dict[str, Any]) -> bool:
    story.facts["windows"] = story.facts.get("windows", 0) + 1
    name = f"window {story.facts['windows']:2d} {window['to_ts'][:16]}Z"
    story.say(f"{name} {window['rows']} rows: {window['verdict']:7s} {window['sentence'][:150]}")
    return False


def _handle_alert(story: Story, admin: Client) -> None:
    """Acknowledge the drift alert and wait for its Evidently confirmation on the raw rows."""
    alerts = [a for a in admin.json("GET", f"/api/v1/models/{MODEL}/alerts")["items"] if a["monitor"] == "drift"]
    story.expect(bool(alerts), "no drift alert was opened")
    alert = alerts[0]["id"]
    admin.json("POST", f"/api/v1/alerts/{alert}/acknowledge", json={"note": "looking into it"})
    found = story.wait(
        "the Evidently confirmation",
        lambda: (
            (a := admin.json("GET", f"/api/v1/alerts/{alert}")) and (a["confirmation"] or a["confirmation_error"]) and a
        ),
    )
    story.expect(found["confirmation"] is not None, f"the alert was not confirmed: {found['confirmation_error']}")
    columns = ", ".join(found["confirmation"]["drifted_columns"]) or "no column"
    story.say(f"Alert acknowledged. Evidently on the raw rows: drift in {columns}; report kept with the alert.")


def _why(story: Story, plan: DemoPlan, admin: Client) -> None:
    """Say what drove the drift; the words named must be those of the new intents."""
    alerts = [a for a in admin.json("GET", f"/api/v1/models/{MODEL}/alerts")["items"] if a["monitor"] == "drift"]
    path = f"/api/v1/alerts/{alerts[0]['id']}/why"
    found = story.wait(
        "the search for what drove the drift", lambda: (a := admin.json("GET", path))["state"] != "pending" and a
    )
    story.say(found["sentence"])
    words = [w["word"] for d in found["figures"].get("drivers", ()) for w in d["words"] if w["window"] > w["reference"]]
    foreign = [word for word in words if not _of_new_intents(plan, word)]
    story.expect(not foreign, f"words were named that known requests use as much as new ones: {', '.join(foreign)}")
    story.facts["drift_words"] = words


def _of_new_intents(plan: DemoPlan, word: str) -> bool:
    """Whether a larger share of the messages of new intents has this word than of the known ones."""
    new = pl.col("category").is_in(plan.new_intents)
    uses = pl.col("text").str.to_lowercase().str.contains(rf"\b{word}\b").mean()
    return bool(plan.drift.filter(new).select(uses).item() > plan.quiet.select(uses).item())


def _latest_decision(story: Story, admin: Client) -> dict[str, Any]:
    """The newest trigger decision, once the queue behind the last window has settled."""
    path = f"/api/v1/models/{MODEL}/decisions"
    before = story.facts.get("decisions", 0)
    items = story.wait("a trigger decision", lambda: (i := admin.json("GET", path)["items"]) and len(i) > before and i)
    story.facts["decisions"] = len(items)
    newest: dict[str, Any] = max(items, key=lambda d: (d["fired"], d["at"]))
    return newest


def _explain_one(story: Story, admin: Client, event_id: str) -> None:
    path = f"/api/v1/models/{MODEL}/events/{event_id}/explanation"

    def ask() -> Any:
        response = admin.send("GET", path)
        return response.json()["explanation"] if response.status_code == 200 else None

    found = story.wait("the SHAP explanation", ask, pause_s=0.5)
    words = sorted(found["words"], key=lambda w: -abs(w["value"]))[:4]
    told = ", ".join(f"{w['word'].strip()} {w['value']:+.3f}" for w in words)
    story.say(f"SHAP for one answer ({found['label']}): {told}; additivity residual {found['residual']:.1e}")


def _follow_run(story: Story, admin: Client) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        items = admin.json("GET", f"/api/v1/models/{MODEL}/runs")["items"]
        found: dict[str, Any] = items[-1]
        return found

    def work(show: Any) -> None:
        while (now := ask())["state"] not in FINAL:
            show(now.get("progress") or {"phase": now["state"]})
            time.sleep(0.5)

    story.bar("QLoRA", work)
    run_: dict[str, Any] = admin.json("GET", f"/api/v1/runs/{ask()['id']}")
    table = Table(show_edge=False, title="Gates", title_justify="left")
    for column in ("gate", "verdict", "reason"):
        table.add_column(column)
    for gate in run_["gates"]:
        table.add_row(gate["gate"], gate["verdict"], gate["reason"])
    story.console.print(table)
    return run_


def _accuracies(plan: DemoPlan, answers: pl.DataFrame, version: str, *, known: float) -> dict[str, Any]:
    """Accuracy of v1 and of the new champion on the same later traffic, all of it and by kind of intent."""
    frame = plan.later.with_columns(
        before=answers["v1.label"] == pl.col("category"), after=answers[f"{version}.label"] == pl.col("category"),
        new=pl.col("category").is_in(plan.new_intents),
    )  # fmt: skip
    old, new = frame.filter(~pl.col("new")), frame.filter(pl.col("new"))

    def share(part: pl.DataFrame, column: str) -> float:
        return float(part[column].mean())  # type: ignore[arg-type]  # a share of booleans

    v1_old, after_drift, after = share(old, "before"), share(frame, "before"), share(frame, "after")
    return {
        "accuracy_before_drift": known, "v1_old": v1_old, "accuracy_after_drift": after_drift,
        "accuracy_after_promotion": after, "old_after": share(old, "after"), "new_after": share(new, "after"),
        "n_later": frame.height, "n_new": new.height, "old_points": v1_old - share(old, "after"),
        "recovered": (after - after_drift) / max(v1_old - after_drift, 1e-9),
    }  # fmt: skip


def _report(story: Story, admin: Client) -> dict[str, Path]:
    now = SystemClock().now()
    body = {
        "kind": "audit",
        "from": (now - timedelta(days=30)).isoformat(),
        "to": (now + timedelta(minutes=1)).isoformat(),
        "regimes": [],
    }
    asked = admin.json("POST", f"/api/v1/models/{MODEL}/reports", json=body)
    done = story.wait(
        "the report", lambda: (r := admin.json("GET", f"/api/v1/reports/{asked['id']}"))["state"] != "queued" and r
    )
    story.expect(done["state"] == "ready", f"the report failed: {done['error']}")
    files = {}
    for kind in ("pdf", "json", "zip"):
        files[kind] = story.folder / f"audit.{kind}"
        files[kind].write_bytes(admin.send("GET", f"/api/v1/reports/{asked['id']}.{kind}").content)
    return files


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"

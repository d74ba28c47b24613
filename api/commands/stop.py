"""`assay stop`: freeze promotion and retraining of a model, lift it, or try the switch."""

from typing import Annotated, Any

import typer

from api.commands.models import ModelName, client, model_path
from api.commands.output import JsonFlag, console, emit_json
from core.errors import InvalidError


def stop(
    model: ModelName,
    reason: Annotated[str | None, typer.Option(help="reason, kept in the ledger; no personal data")] = None,
    lift: Annotated[bool, typer.Option("--lift", help="lift the stop, or agree to it")] = False,
    drill: Annotated[bool, typer.Option("--drill", help="try the switch: nothing stays stopped")] = False,
    show: Annotated[bool, typer.Option("--show", help="only say whether the model is stopped")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Stop a model: nothing of it is promoted or trained until the stop is lifted. A rollback stays possible."""
    if lift + drill + show > 1:
        raise InvalidError("give one of --lift, --drill and --show", field="stop")
    path = f"{model_path(model)}/stop"
    if show:
        _tell(client().json("GET", path), as_json)
        return
    if drill:
        _drill(model, path, {"reason": reason} if reason else None, as_json)
        return
    if not reason:
        raise InvalidError("reason is missing; give --reason WHY, which the ledger keeps", field="reason")
    _tell(client().json("POST", f"{path}/lift" if lift else path, json={"reason": reason}), as_json)


def _drill(model: str, path: str, body: dict[str, str] | None, as_json: bool) -> None:
    """Try the switch; exit code 1 where something was not refused."""
    answer = client().json("POST", f"{path}/drill", json=body)
    if as_json:
        emit_json(answer)
    else:
        refused = ", ".join(name for name, ok in answer["checks"].items() if ok)
        let_by = ", ".join(name for name, ok in answer["checks"].items() if not ok)
        told = f"The switch of {model} works: {refused} refused within {answer['milliseconds']:g} ms. "
        if not answer["passed"]:
            told = f"The switch of {model} FAILED; not refused: {let_by}. "
        console.print(f"{told}Nothing stays stopped; ledger entry {answer['entry']}.", markup=False, soft_wrap=True)
    if not answer["passed"]:
        raise typer.Exit(1)


def _tell(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(answer)
        return
    if not answer["stopped"]:
        drills = [e for e in answer["history"] if e["kind"] == "stop.drilled"]
        last = f" Last drill: {drills[-1]['at']}." if drills else " It was never tried: assay stop MODEL --drill."
        console.print(f"{answer['model']} is not stopped.{last}", markup=False, soft_wrap=True)
        return
    lines = [f"{answer['model']} is stopped since {answer['since']} by {answer['by']}: {answer['reason']}."]
    if answer["needed"]:
        given = "".join(f", {name}" for name in answer["agreed"])
        people = "1 other person" if answer["needed"] == 1 else f"{answer['needed']} other people"
        lines.append(f"To lift it, {people} must agree; {len(answer['agreed'])} did{given}.")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)

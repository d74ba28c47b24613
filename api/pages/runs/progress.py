"""How far a run is, in words."""

from retrain.tables import Run

ACTIVE = ("queued", "curating", "training", "evaluating")


def progress(run: Run) -> str:
    """The state of a run, in words."""
    p = run.progress or {}
    if run.state not in ACTIVE:
        return ""
    parts = [str(p.get("phase") or run.state)]
    if p.get("steps"):
        parts.append(f"step {p.get('step', 0)} of {p['steps']}")
    if p.get("loss") is not None:
        parts.append(f"loss {p['loss']:.3f}")
    if p.get("eta_s") is not None:
        parts.append(f"about {p['eta_s']:.0f} s left")
    return ", ".join(parts)

"""Random changes of an exported bundle: bytes, members, and whole forgeries under a key of somebody else."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from core.canonical import canonical, sha256
from governance.proof.note import sign_note
from governance.proof.vkey import SigningKey
from governance.verify.archive import member_order
from governance.verify.manifest import MANIFEST, MANIFEST_NOTE, REPORT, manifest_note_text

Members = dict[str, bytes]
Named = tuple[str, ...]


def members_of(bundle: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members, key=member_order):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), members[name])
    return buffer.getvalue()


def flip(random: Random, members: Members) -> Named:
    name = random.choice(sorted(members))
    content = members[name]
    at = random.randrange(len(content))
    members[name] = content[:at] + bytes([content[at] ^ (1 << random.randrange(8))]) + content[at + 1 :]
    return (name,)


def drop(random: Random, members: Members) -> Named:
    name = random.choice(sorted(members))
    del members[name]
    return (name,)


def swap(random: Random, members: Members) -> Named:
    one, other = random.sample(sorted(members), 2)
    members[one], members[other] = members[other], members[one]
    return (next((name for name in (MANIFEST, MANIFEST_NOTE) if name in (one, other)), one),)


def cut(random: Random, members: Members) -> Named:
    name = random.choice(sorted(members))
    members[name] = members[name][: random.randrange(len(members[name]))]
    return (name,)


def insert(random: Random, members: Members) -> Named:
    name = f"datasets/{random.getrandbits(64):016x}.json"
    members[name] = b"{}"
    return (name,)


def _figure(random: Random, members: Members) -> None:
    """Another figure, verdict, alert or decision in the report."""
    report: dict[str, Any] = json.loads(members[REPORT])
    kind = random.choice(
        ["kpi", "windows", "alerts", "decisions", "health", "fairness", "groups", "fair", "counts", "changes"]
    )
    if kind in ("fair", "counts"):
        _fair(random, report, members, kind)
        return
    if kind == "changes" and report[kind] is not None and report[kind]["lines"]:
        line = random.choice(report[kind]["lines"])
        random.choice([line["now"], line["before"]])["value"] = 0.9712
    elif kind in ("changes", "health") or not report[kind]:
        report["health"] = "Quiet since the first day."
    elif random.random() < 0.3:
        report[kind].pop()
    else:
        line = random.choice(report[kind])
        name = {"windows": "verdict", "alerts": "sentence", "decisions": "reason"}.get(kind, "value")
        line[name] = 0.9712 if name == "value" else "ok" if line[name] != "ok" else "alarm"
    members[REPORT] = canonical(report)


def _fair(random: Random, report: dict[str, Any], members: Members, kind: str) -> None:
    """Another answer about fairness: a rate, a hidden group, a disparity; or other counts behind it."""
    counted = sorted(name for name in members if name.startswith("fairness/"))
    if kind == "counts" and counted:
        name = random.choice(counted)
        members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])
        return
    fair = report["fair"]
    if not fair["groups"] or random.random() < 0.3:
        fair["answer"] = "fair" if fair["answer"] != "fair" else "not fair"
    elif random.random() < 0.3:
        fair["groups"].pop()
    else:
        random.choice(random.choice(fair["groups"])["rates"])["value"] = 0.9712
    members[REPORT] = canonical(report)


def _listed(members: Members) -> None:
    """Digests and sizes of the manifest follow the members."""
    manifest: dict[str, Any] = json.loads(members[MANIFEST])
    for file in manifest["files"]:
        content = members[file["path"]]
        file["sha256"], file["bytes"] = sha256(content), len(content)
    members[MANIFEST] = canonical(manifest)


def rewrite(random: Random, members: Members) -> Named:
    """A figure is changed, and the manifest follows, but nobody signs it."""
    _figure(random, members)
    _listed(members)
    return (MANIFEST,)


def forge(random: Random, members: Members) -> Named:
    """As `rewrite`, signed with another key under the same name."""
    _figure(random, members)
    _listed(members)
    name = members[MANIFEST_NOTE].decode().splitlines()[-1].split(" ")[1]
    key = SigningKey.generate(name)
    members[MANIFEST_NOTE] = sign_note(manifest_note_text(sha256(members[MANIFEST])), [key]).encode()
    return (MANIFEST_NOTE,)


KINDS: Final[dict[str, Callable[[Random, Members], Named]]] = {
    "flip": flip, "drop": drop, "swap": swap, "cut": cut, "insert": insert, "rewrite": rewrite, "forge": forge,
}  # fmt: skip

"""Sign an adapter as OpenSSF model signing does: a Sigstore bundle over an in-toto statement, with an EC key.

The key lies in `keys/model-signing.pem`, P-256, made on first use; a team that has one puts it there (P-256, P-384 or
P-521, PEM without password). Whoever has the public key checks a folder with the project's own program:

    model_signing verify key FOLDER --signature model.sig --public_key model-signing.pub

Written here, for the library needs a web client, a transparency log and a key store only to sign a file.
Source: https://github.com/ossf/model-signing-spec, v1.0; DSSE v1; Sigstore bundle v0.3.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.artifacts import file_digest, fsync_folder, write_durably
from core.errors import IntegrityFailureError

KEY: Final = "model-signing.pem"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
HASHES: Final[Mapping[int, Callable[[], hashes.HashAlgorithm]]] = {
    256: hashes.SHA256,
    384: hashes.SHA384,
    521: hashes.SHA512,
}
IGNORED: Final = (".git", ".gitattributes", ".github", ".gitignore")  # as the project's program leaves them out


def signature_of(folder: Path, name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The signature over every file of a folder, as a file to put beside it."""
    payload = json.dumps(_statement(folder, name), separators=(",", ":"), sort_keys=True).encode()
    encoded = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    signed = key.sign(encoded, ec.ECDSA(HASHES[key.curve.key_size]()))
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(public_pem(key)).hexdigest()}, "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signed).decode(), "keyid": ""}],
        },
    }  # fmt: skip
    return json.dumps(bundle, separators=(",", ":"), sort_keys=True).encode()


def _statement(folder: Path, name: str) -> dict[str, Any]:
    files = {PurePosixPath(p.relative_to(folder).as_posix()): p for p in folder.rglob("*") if p.is_file()}
    found = {path: file_digest(files[path]).removeprefix("sha256:") for path in sorted(files)}
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in found.values())).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1", "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False,
                              "ignore_paths": list(IGNORED)},
            "resources": [{"name": str(p), "algorithm": "sha256", "digest": d} for p, d in found.items()],
        },
    }  # fmt: skip


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key, for whoever checks."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip


def signing_key(home: Path) -> ec.EllipticCurvePrivateKey:
    """The installation's key for models, made on first use with mode 0600.

    Raises:
        IntegrityFailureError: the file holds no EC key that the format knows.
    """
    path = home / "keys" / KEY
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        draft = path.with_name(f".{KEY}.{secrets.token_hex(8)}")
        write_durably(draft, made, mode=0o600)
        with suppress(FileExistsError):  # of two processes one makes the key, and both read it
            os.link(draft, path)
        draft.unlink()
        fsync_folder(path.parent)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path, str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not key.curve.name.startswith("secp"):
        raise _no_key(path, "another kind of key")
    if key.curve.key_size not in HASHES:
        raise _no_key(path, f"curve {key.curve.name}")
    return key


def _no_key(path: Path, why: str) -> IntegrityFailureError:
    return IntegrityFailureError(
        f"{path} holds no key that signs models ({why}); put an EC key there as PEM without password: P-256, P-384 or "
        "P-521; or remove it, and a new one is made", field=KEY,
    )  # fmt: skip

"""The keys of an installation in a file of their own, apart from the backup."""

import json
from pathlib import Path
from typing import Final

from api.backup.manifest import PUBLIC_KEYS
from core.artifacts import write_durably
from core.errors import IntegrityFailureError, InvalidError
from governance.proof.vkey import KeyFormatError, SigningKey

FORMAT: Final = "assay-keys/1"


def write_keys(home: Path, file: Path) -> None:
    """Write the private keys of `home/keys` into a file that its owner alone can read.

    Raises:
        InvalidError: the file exists.
    """
    if file.exists() or file.is_symlink():
        raise InvalidError(
            f"--with-keys {file} exists; name a new file, so that no keys are lost", field="with_keys", value=str(file)
        )
    kept = {
        path.name: path.read_text()
        for path in sorted((home / "keys").iterdir())
        if path.is_file() and not path.name.startswith(".") and path.name not in PUBLIC_KEYS
    }
    write_durably(file, (json.dumps({"format": FORMAT, "keys": kept}, indent=1) + "\n").encode(), mode=0o600)


def read_keys(file: Path, public: str) -> dict[str, str]:
    """The keys of such a file, by the names of their files.

    Args:
        public: the public key of the installation whose keys they must be.

    Raises:
        InvalidError: the file cannot be read, or is no file of keys.
        IntegrityFailureError: they are keys of another installation.
    """
    try:
        document = json.loads(file.read_text())
        keys = {str(name): str(content) for name, content in document["keys"].items()}
        if document["format"] != FORMAT or any(Path(name).name != name or name.startswith(".") for name in keys):
            raise ValueError
        own = SigningKey.parse(keys["ledger.key"].strip()).vkey if "ledger.key" in keys else public
    except OSError as error:
        raise InvalidError(f"--keys {file} cannot be read: {error.strerror}", field="keys", value=str(file)) from error
    except (ValueError, KeyError, TypeError, AttributeError, KeyFormatError) as error:
        raise InvalidError(
            f"--keys {file} is no file of keys; give the one that `assay backup --with-keys` wrote", field="keys",
            value=str(file),
        ) from error  # fmt: skip
    if own != public:
        raise IntegrityFailureError(
            f"--keys {file} has the key {own}, and the backup is of an installation that signs with {public}; give the "
            "file that was written with this backup, or one since its last rotation", field="keys",
        )  # fmt: skip
    return keys


def put_keys(keys: dict[str, str], home: Path) -> None:
    folder = home / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    for name, content in keys.items():
        write_durably(folder / name, content.encode(), mode=0o600)

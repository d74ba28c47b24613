"""Settings of the key that signs the ledger: where it lies and how it is asked."""

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

LOOPBACK: Final = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")


class SignerSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["file", "pkcs11", "process"] = Field(
        "file",
        description="where the key of the ledger lies: `file` (keys/ledger.key under home), `pkcs11` (a token) or "
        "`process` (`assay signer`, or another program of the same interface; no process of the service can read it)",
    )
    address: str | None = Field(
        None,
        description="with kind `process`: where the signer listens, `unix:/run/assay/signer.sock` or "
        "`http://127.0.0.1:8190`",
    )
    token_file: Path | None = Field(
        None, description="with an http address: file with the password that the signer asks for"
    )
    module: Path | None = Field(
        None, description="with kind `pkcs11`: the token's library, such as /usr/lib/softhsm/libsofthsm2.so"
    )
    token: str | None = Field(None, description="with kind `pkcs11`: label of the token")
    label: str = Field("ledger", description="with kind `pkcs11`: label of the Ed25519 key pair in the token")
    pin: SecretStr | None = Field(None, description="with kind `pkcs11`: PIN of the token's user")
    pin_file: Path | None = Field(None, description="with kind `pkcs11`: file that holds the PIN, instead of it")
    timeout_s: float = Field(10, gt=0, description="a signer process that takes longer counts as unreachable, seconds")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "pkcs11":
            missing = [name.upper() for name in ("module", "token") if getattr(self, name) is None]
            if self.pin is None and self.pin_file is None:
                missing.append("PIN or ASSAY_SIGNER__PIN_FILE")
            if missing:
                raise ValueError(f"kind pkcs11 needs ASSAY_SIGNER__{', ASSAY_SIGNER__'.join(missing)}")
        if self.kind == "process":
            if self.address is None or not self.address.startswith(("unix:/", *LOOPBACK)):
                raise ValueError(
                    "kind process needs ASSAY_SIGNER__ADDRESS, unix:/a/path or http://127.0.0.1:PORT on this machine"
                )
            if self.address.startswith("http") and self.token_file is None:
                raise ValueError("an http address needs ASSAY_SIGNER__TOKEN_FILE, which the signer has too")
        return self

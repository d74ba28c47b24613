"""An Ed25519 key in a PKCS#11 token (HSM, smart card, SoftHSM), which signs by CKM_EDDSA and never shows the key."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import InvalidError
from governance.ledger.signers.base import SignerUnreachableError
from governance.ledger.signers.file import publish
from governance.proof.vkey import VerifierKey

_LOCK = threading.Lock()  # a PKCS#11 library is loaded once a process, and a token has one login


class TokenSigner:
    """Signs with the key of a label in the token of a label.

    Args:
        module: the token's library, such as /usr/lib/softhsm/libsofthsm2.so.
        token: label of the token.
        label: label of the key pair in it.
        pin: the user's PIN; never logged, never part of a message.
        origin: the name under which the key signs.
        public: file of the public key, known since the first time the token was asked.
    """

    def __init__(self, module: Path, token: str, label: str, pin: str, *, origin: str, public: Path) -> None:
        self._module, self._token, self._label, self._pin = module, token, label, pin
        self._origin, self._public = origin, public
        self._refused = False  # a PIN that was wrong once is not tried again: a token locks after a few

    def __repr__(self) -> str:
        return f"TokenSigner({self._token!r}, {self._label!r})"

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey.parse(self._public.read_text().strip()) if self._public.exists() else self.present()

    def present(self) -> VerifierKey:
        """The public key as the token has it."""
        with self._session() as session:
            return self._read_public(session)

    @property
    def name(self) -> str:
        return self._origin

    @property
    def vkey(self) -> str:
        return str(self.verifier)

    def sign(self, text: bytes) -> bytes:
        import pkcs11

        with self._session() as session:
            try:
                key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self._label)
                return bytes(key.sign(text, mechanism=pkcs11.Mechanism.EDDSA))
            except (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned) as error:
                raise self._no_key(error) from error

    def go_on(self, vkey: str) -> bool:
        if str(self.present()) != vkey:
            return False
        publish(self._public.parent, vkey)
        return True

    def generate(self) -> None:
        """Make the key pair in the token, where it stays.

        Raises:
            InvalidError: a key of this label is there.
        """
        import pkcs11
        from pkcs11.util.ec import encode_named_curve_parameters

        with self._session(writes=True) as session:
            if list(session.get_objects({pkcs11.Attribute.LABEL: self._label})):
                raise InvalidError(
                    f"token {self._token!r} has a key {self._label!r} already; choose another "
                    "ASSAY_SIGNER__LABEL for the new one", field="signer.label", value=self._label,
                )  # fmt: skip
            curve = session.create_domain_parameters(
                pkcs11.KeyType.EC_EDWARDS,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("1.3.101.112")}, local=True,
            )  # fmt: skip
            curve.generate_keypair(
                mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, label=self._label, store=True,
                id=hashlib.sha256(self._label.encode()).digest()[:8],
                private_template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False},
            )  # fmt: skip

    def _read_public(self, session: Any) -> VerifierKey:
        import pkcs11

        try:
            key = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=self._label)
        except (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned) as error:
            raise self._no_key(error) from error
        point = bytes(key[pkcs11.Attribute.EC_POINT])
        return VerifierKey(self._origin, point[-32:])  # an octet string around the 32 bytes, or the bytes alone

    def _wrong_pin(self) -> InvalidError:
        return InvalidError(
            f"token {self._token!r} refuses the PIN, which is not tried again before a restart: a token locks after a "
            "few. Set ASSAY_SIGNER__PIN or ASSAY_SIGNER__PIN_FILE", field="signer.pin",
        )  # fmt: skip

    def _no_key(self, error: Exception) -> InvalidError:
        what = "several keys" if type(error).__name__ == "MultipleObjectsReturned" else "no key"
        return InvalidError(
            f"token {self._token!r} has {what} labelled {self._label!r}; set ASSAY_SIGNER__LABEL, or make the key with "
            "`assay ledger token-key`", field="signer.label", value=self._label,
        )  # fmt: skip

    @contextmanager
    def _session(self, *, writes: bool = False) -> Iterator[Any]:
        """A login. A token that is gone, or a library that fails, is unreachable; a wrong label or PIN is an error."""
        try:
            import pkcs11
        except ImportError as error:
            raise InvalidError(
                'ASSAY_SIGNER__KIND is pkcs11, which needs python-pkcs11: pip install "assay[pkcs11]"',
                field="signer.kind",
            ) from error
        with _LOCK:
            if self._refused:
                raise self._wrong_pin()
            try:
                library = pkcs11.lib(str(self._module))
                library.reinitialize()  # a token that was plugged in or out since then
                found = library.get_token(token_label=self._token)
                with found.open(user_pin=self._pin, rw=writes) as session:
                    yield session
            except pkcs11.NoSuchToken as error:
                raise SignerUnreachableError(
                    f"no token labelled {self._token!r} is there; plug it in, or set ASSAY_SIGNER__TOKEN",
                    field="signer.token", value=self._token,
                ) from error  # fmt: skip
            except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid, pkcs11.PinLocked):
                self._refused = True
                raise self._wrong_pin() from None  # the error of the library must not carry the PIN along
            except (pkcs11.PKCS11Error, RuntimeError) as error:
                raise SignerUnreachableError(
                    f"token {self._token!r} does not answer ({type(error).__name__}); check that it is plugged in, and "
                    "that ASSAY_SIGNER__MODULE is its library", field="signer.token", value=self._token,
                ) from error  # fmt: skip

"""RFC 3161: an authority signs the time at which it saw the digest of a note."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from governance.anchors.base import Anchored, AnchorError
from governance.anchors.webhook import post


@dataclass(frozen=True)
class TimestampAnchor:
    """A time-stamping authority.

    `certificates` is the PEM file of its root and of intermediates. If it holds the authority's own certificate too,
    the answer need not repeat them: several are refused by the parser unless they are in the order of DER, which
    `openssl ts` does not keep.
    """

    url: str
    certificates: Path
    all_notes: bool = False

    def take(self, checkpoint: Anchored) -> bytes:
        """The authority's answer, DER, once it was checked."""
        from rfc3161_client import TimestampRequestBuilder

        own = any(map(_stamps, _certificates(self.certificates)))
        asked = TimestampRequestBuilder().data(checkpoint.note).cert_request(cert_request=not own).build()
        answer = post(self.url, asked.as_bytes(), "application/timestamp-query")
        check_timestamp(answer, checkpoint.note, self.certificates, nonce=asked.nonce)
        return answer


def check_timestamp(answer: bytes, note: bytes, certificates: Path, *, nonce: int | None = None) -> datetime:
    """The time that an authority's answer gives a note.

    Raises:
        AnchorError: it is no answer, about something else, or not signed by the authority of `certificates` while its
            certificate was valid.
    """
    import rfc3161_client
    from rfc3161_client import VerificationError

    try:
        response = rfc3161_client.decode_timestamp_response(answer)
    except ValueError as error:
        raise AnchorError(
            "the answer is no time-stamp of RFC 3161 in DER; if the authority sends several certificates, add its own "
            "to the PEM file, and it is not asked for them"
        ) from error
    if response.status != rfc3161_client.PKIStatus.GRANTED:
        raise AnchorError(f"the authority refused: status {int(response.status)} {', '.join(response.status_string)}")
    stamped = response.tst_info.message_imprint.message
    if stamped not in (hashlib.sha256(note).digest(), hashlib.sha512(note).digest()):
        raise AnchorError("the time-stamp is about another digest than that of this checkpoint")
    builder = rfc3161_client.VerifierBuilder() if nonce is None else rfc3161_client.VerifierBuilder(nonce=nonce)
    for certificate in _certificates(certificates):
        if _stamps(certificate):
            builder = builder.tsa_certificate(certificate)
        if certificate.issuer == certificate.subject:
            builder = builder.add_root_certificate(certificate)
        elif not _stamps(certificate):
            builder = builder.add_intermediate_certificate(certificate)
    try:
        builder.build().verify_message(response, note)
    except (VerificationError, ValueError) as error:
        raise AnchorError(
            f"the time-stamp does not verify against {certificates.name}, at its own time: {error}"
        ) from error
    at: datetime = response.tst_info.gen_time
    return at


def _stamps(certificate: Any) -> bool:
    """Whether a certificate is that of an authority itself."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        use = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.TIME_STAMPING in use.value


def _certificates(path: Path) -> Sequence[Any]:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise AnchorError(f"the certificates {path} cannot be read as PEM") from error
    if not any(certificate.issuer == certificate.subject for certificate in found):
        raise AnchorError(f"the certificates {path} hold no root, one that signed itself; add it")
    return found

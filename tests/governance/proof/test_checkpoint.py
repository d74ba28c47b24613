"""Signed notes against the published sumdb note vector and against raw Ed25519."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import InvalidError
from governance.proof.checkpoint import sign_checkpoint, verify_checkpoint
from governance.proof.note import NoteFormatError, NoteSignatureError, open_note, sign_note
from governance.proof.vkey import KeyFormatError, SigningKey, VerifierKey

# The example of golang.org/x/mod/sumdb/note (package documentation and note_test.go).
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_SIGNATURE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
GO_NOTE = f"{GO_TEXT}\n{GO_SIGNATURE}"
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"  # note_test.go

ORIGIN = "assay.example/ledger"
ROOT = hashlib.sha256(b"a root").digest()
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
KEY = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = SigningKey("witness.example", Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
NOTE = sign_checkpoint(KEY, ORIGIN, 12, ROOT, AT)


def test_the_published_note_verifies() -> None:
    note = open_note(GO_NOTE, [GO_VKEY])
    assert note.text == GO_TEXT
    assert note.signers == ("PeterNeumann+c74f20a3",)


def test_signing_the_published_text_with_the_published_key_gives_the_published_note() -> None:
    key = SigningKey.parse(GO_SKEY)
    assert key.vkey == GO_VKEY
    assert key.secret() == GO_SKEY
    assert sign_note(GO_TEXT, [key]) == GO_NOTE


@pytest.mark.parametrize("vkey", [GO_VKEY, ENOCH_VKEY])
def test_published_verifier_keys_are_read_and_written_alike(vkey: str) -> None:
    assert str(VerifierKey.parse(vkey)) == vkey


def test_a_checkpoint_is_what_raw_ed25519_and_the_specification_give() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    text = f"{ORIGIN}\n12\n{base64.b64encode(ROOT).decode()}\ntime 2026-01-02T03:04:05.678901Z\n"
    key_id = hashlib.sha256(ORIGIN.encode() + b"\n\x01" + public).digest()[:4]
    signature = base64.b64encode(key_id + private.sign(text.encode())).decode()
    assert f"{text}\n\u2014 {ORIGIN} {signature}\n" == NOTE
    assert KEY.vkey == f"{ORIGIN}+{key_id.hex()}+{base64.b64encode(bytes([1]) + public).decode()}"


def test_a_checkpoint_reads_back_as_it_was_signed() -> None:
    head = verify_checkpoint(NOTE, [KEY.vkey])
    assert (head.origin, head.size, head.root, head.at) == (ORIGIN, 12, ROOT, AT)
    assert head.signers == (KEY.verifier.label,)
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    assert sign_checkpoint(KEY, ORIGIN, 12, ROOT, elsewhere) == NOTE


def test_flipping_any_byte_of_a_checkpoint_is_refused() -> None:
    raw = NOTE.encode()
    for position in range(len(raw)):
        for bit in (0x01, 0x20, 0x80):
            altered = bytearray(raw)
            altered[position] ^= bit
            try:
                text = altered.decode()
            except UnicodeDecodeError:
                continue
            with pytest.raises((NoteFormatError, NoteSignatureError)):
                verify_checkpoint(text, [KEY.vkey])


def test_only_one_spelling_of_a_signature_is_accepted() -> None:
    """68 bytes leave two unused bits in the last base64 digit: three other digits decode to the same signature."""
    head, last = NOTE[:-3], NOTE[-3]
    assert NOTE.endswith("=\n")
    for digit in set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") - {last}:
        with pytest.raises((NoteFormatError, NoteSignatureError)):
            verify_checkpoint(f"{head}{digit}=\n", [KEY.vkey])


def test_another_signer_is_skipped_and_a_second_known_one_is_reported() -> None:
    text = open_note(NOTE, [KEY.vkey]).text
    both = sign_note(text, [OTHER, KEY])
    assert verify_checkpoint(both, [KEY.vkey]).signers == (KEY.verifier.label,)
    assert len(verify_checkpoint(both, [KEY.vkey, OTHER.vkey]).signers) == 2


def test_a_broken_signature_of_a_known_key_is_refused_even_beside_a_good_one() -> None:
    good = sign_note("text\n", [KEY]).splitlines()[-1]
    bad = sign_note("another\n", [OTHER]).splitlines()[-1]
    note = f"text\n\n{good}\n{bad}\n"
    assert open_note(note, [KEY.vkey]).text == "text\n"
    with pytest.raises(NoteSignatureError, match=r"signature of witness\.example"):
        open_note(note, [KEY.vkey, OTHER.vkey])


def test_an_unknown_key_is_refused_and_the_error_names_both_sides() -> None:
    with pytest.raises(NoteSignatureError) as caught:
        verify_checkpoint(NOTE, [OTHER.vkey])
    assert KEY.verifier.label in caught.value.message
    assert OTHER.verifier.label in caught.value.message
    assert caught.value.note == NOTE
    with pytest.raises(NoteSignatureError, match="known keys: none"):
        verify_checkpoint(NOTE, [])


def test_a_note_whose_text_holds_blank_lines_is_split_at_the_last_one() -> None:
    text = "first\n\nsecond\n"
    assert open_note(sign_note(text, [KEY]), [KEY.vkey]).text == text


B64 = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{ORIGIN}\n12\n", "three or more"),
        (f"\n12\n{B64}\n", "three or more"),
        (f"{ORIGIN}\n012\n{B64}\n", "tree size"),
        (f"{ORIGIN}\n-1\n{B64}\n", "tree size"),
        (f"{ORIGIN}\n\u0661\n{B64}\n", "tree size"),
        (f"{ORIGIN}\n12\n{B64[:-1]}\n", "base64 of 32 bytes"),
        (f"{ORIGIN}\n12\nAAAA\n", "base64 of 32 bytes"),
        (f"{ORIGIN}\n12\n{B64}\ntime yesterday\n", "RFC 3339"),
        (f"{ORIGIN}\n12\n{B64}\ntime 2026-01-02T03:04:05.5Z\n", "once, in full"),
        (f"{ORIGIN}\n12\n{B64}\n" + "time 2026-01-02T03:04:05.678901Z\n" * 2, "once, in full"),
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NoteFormatError, match=reason):
        verify_checkpoint(sign_note(text, [KEY]), [KEY.vkey])


def test_a_checkpoint_without_a_time_and_with_foreign_extensions_is_read() -> None:
    note = sign_note(f"{ORIGIN}\n0\n{B64}\nforeign extension\n", [KEY])
    head = verify_checkpoint(note, [KEY.vkey])
    assert (head.size, head.at, head.extensions) == (0, None, ("foreign extension",))


SIGNATURE_LINE = NOTE.splitlines()[-1]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "no newline at the end",
        "no signature\n",
        f"text\n{SIGNATURE_LINE}\n",
        f"text\n\n{SIGNATURE_LINE}",
        f"text\n\n{SIGNATURE_LINE[1:]}\n",
        f"text\n\n{SIGNATURE_LINE} \n",
        "text\n\n\u2014 a+b AAAAAAAA\n",
        "text\n\n\u2014 name AAAA\n",
        f"te\txt\n\n{SIGNATURE_LINE}\n",
        f"te\x00xt\n\n{SIGNATURE_LINE}\n",
        f"te\ud800xt\n\n{SIGNATURE_LINE}\n",
        "text\n\n" + (SIGNATURE_LINE + "\n") * 101,
        "a" * 1_000_001 + "\n",
    ],
)
def test_text_that_is_no_signed_note_is_refused(note: str) -> None:
    with pytest.raises(NoteFormatError):
        open_note(note, [KEY.vkey])


def test_no_part_of_a_verifier_key_and_no_altered_one_is_read_as_a_key() -> None:
    for start in range(len(GO_VKEY)):
        for stop in range(start + 1, len(GO_VKEY) + 1):
            if (start, stop) != (0, len(GO_VKEY)):
                with pytest.raises(KeyFormatError):
                    VerifierKey.parse(GO_VKEY[start:stop])
    for position, character in enumerate(GO_VKEY):
        altered = GO_VKEY[:position] + chr(ord(character) + 1) + GO_VKEY[position + 1 :]
        with pytest.raises(KeyFormatError):
            VerifierKey.parse(altered)


@pytest.mark.parametrize("secret", ["", GO_VKEY, GO_SKEY[:-4], GO_SKEY.replace("c74f", "c74e"), "PRIVATE+KEY+a+b"])
def test_a_damaged_signer_key_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(KeyFormatError) as caught:
        SigningKey.parse(secret)
    assert "AYEKFALV" not in caught.value.message


@pytest.mark.parametrize("name", ["", "with space", "a+b", "new\nline", "no\u00a0break"])
def test_a_key_name_without_a_single_spelling_is_refused(name: str) -> None:
    with pytest.raises(KeyFormatError):
        SigningKey.generate(name)


def test_a_generated_key_survives_its_text_form_and_never_shows_its_secret() -> None:
    key = SigningKey.generate(ORIGIN)
    again = SigningKey.parse(key.secret())
    assert again.vkey == key.vkey
    assert key.secret().split("+")[-1] not in repr(key)
    assert verify_checkpoint(sign_checkpoint(again, ORIGIN, 1, ROOT, AT), [key.vkey]).size == 1


def test_what_is_no_tree_head_is_not_signed() -> None:
    for origin, size, root in ((ORIGIN, -1, ROOT), (ORIGIN, 1, b"short"), ("", 1, ROOT), ("two\nlines", 1, ROOT)):
        with pytest.raises(InvalidError):
            sign_checkpoint(KEY, origin, size, root, AT)
    with pytest.raises(InvalidError, match="no zone"):
        sign_checkpoint(KEY, ORIGIN, 1, ROOT, AT.replace(tzinfo=None))
    with pytest.raises(InvalidError, match="at least one"):
        sign_note("text\n", [])

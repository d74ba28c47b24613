"""Programs of others that tests run beside the service, from an environment of their own (tests/beside.txt)."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

_ENVIRONMENT = Path(sys.prefix) / "beside"
_LIB = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
MOTO = _ENVIRONMENT / "bin" / "moto_server"
GOOGLE = _ENVIRONMENT / "bin" / "gcp-storage-emulator"
AZURITE = shutil.which("azurite-blob")  # of npm's package azurite; too large to be set up for everybody
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # known to all
ROTEL = _ENVIRONMENT / _LIB / "rotel" / "rotel-agent"
_MAY_READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@dataclass(frozen=True)
class ObjectStore:
    """An S3 endpoint that checks signatures, and the one pair of keys it knows."""

    url: str
    key: str
    secret: str

    def environment(self) -> dict[str, str]:
        """What AWS' own tools read; none of this machine's own settings."""
        return {
            "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip


@contextlib.contextmanager
def object_store(log: Path) -> Iterator[ObjectStore]:
    """moto in server mode."""
    with log.open("w") as output, subprocess.Popen(
        [MOTO, "--host", "127.0.0.1", "--port", "0"], stdin=subprocess.DEVNULL, stdout=output, stderr=output
    ) as process:  # fmt: skip
        try:
            url = _announced(log, process)
            made = [
                _iam(url, Action="CreateUser", UserName="reader"),
                _iam(
                    url,
                    Action="PutUserPolicy",
                    UserName="reader",
                    PolicyName="s3",
                    PolicyDocument=json.dumps(_MAY_READ),
                ),
                _iam(url, Action="CreateAccessKey", UserName="reader"),
            ][-1]
            httpx2.post(f"{url}/moto-api/reset-auth", content=b"0").raise_for_status()  # from now on keys are checked
            key, secret = (
                re.findall(f"<{name}>(.*?)</{name}>", made)[0] for name in ("AccessKeyId", "SecretAccessKey")
            )
            yield ObjectStore(url, key, secret)
        finally:
            process.kill()


def _announced(log: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"Running on (http://[0-9.:]+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"moto_server did not become ready:\n{log.read_text()[-2000:]}")


def _iam(url: str, **parameters: str) -> str:
    scope = "Credential=any/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=any"
    answer = httpx2.post(
        url, data={"Version": "2010-05-08", **parameters}, headers={"Authorization": f"AWS4-HMAC-SHA256 {scope}"}
    )
    return answer.raise_for_status().text


@contextlib.contextmanager
def google_store(log: Path) -> Iterator[str]:
    """The emulator of Google Cloud Storage with a bucket `drops`; gives host:port. It lets everybody in."""
    command = [str(GOOGLE), "start", "--in-memory", "--default-bucket", "drops"]
    with _listening(command, "--host", "--port", log) as address:
        yield address


@contextlib.contextmanager
def azure_store(log: Path) -> Iterator[str]:
    """Azurite, which lets AZURE_ACCOUNT in with AZURE_KEY; gives host:port."""
    assert AZURITE is not None
    command = [AZURITE, "--location", str(log.parent), "--skipApiVersionCheck"]
    with _listening(command, "--blobHost", "--blobPort", log) as address:
        yield address


@contextlib.contextmanager
def _listening(command: Sequence[str], host: str, port: str, log: Path) -> Iterator[str]:
    number = free_port()
    with log.open("w") as output, subprocess.Popen(
        [*command, host, "127.0.0.1", port, str(number)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
    ) as process:  # fmt: skip
        try:
            _connected("127.0.0.1", number, process, log)
            yield f"127.0.0.1:{number}"
        finally:
            process.kill()


def _connected(host: str, port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        with contextlib.suppress(ConnectionError), socket.create_connection((host, port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{Path(str(process.args[0])).name} did not become ready:\n{log.read_text()[-2000:]}")  # type: ignore[index]


@contextlib.contextmanager
def collector(settings: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """rotel with these settings; ready when its HTTP receiver listens."""
    environ = {"PATH": os.environ["PATH"], **settings}
    command = [str(ROTEL), "start", "--pid-file", str(log.with_suffix(".pid"))]
    with log.open("w") as output, subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    ) as process:  # fmt: skip
        try:
            host, _, port = settings["ROTEL_OTLP_HTTP_ENDPOINT"].rpartition(":")
            _connected(host, int(port), process, log)
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

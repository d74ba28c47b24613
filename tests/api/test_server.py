"""How uvicorn serves the application."""

import socket
import threading
import urllib.request

import pytest
import uvicorn
from fastapi import FastAPI

from api.http import errors
from api.server import configured
from core.settings import ServerSettings


def test_the_message_of_an_unexpected_error_reaches_neither_the_client_nor_the_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    app = FastAPI()
    errors.install(app)

    @app.get("/fails")
    def fails() -> None:
        raise ZeroDivisionError("a secret")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(configured(app, ServerSettings()))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with pytest.raises(urllib.error.HTTPError, match="500") as answer:
            urllib.request.urlopen(f"http://127.0.0.1:{listener.getsockname()[1]}/fails", timeout=30)
        body = answer.value.read().decode()
        answer.value.close()
        server.should_exit = True
        thread.join()
    out, err = capfd.readouterr()
    assert "the cause is in its log" in body
    assert "unhandled error" in out + err
    assert "ZeroDivisionError" in out + err
    assert "secret" not in body + caplog.text + out + err

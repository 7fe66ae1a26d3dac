"""A stream of tokens from a server that speaks OpenAI's completions over HTTP."""

import http.client
import json
import threading
from collections.abc import Generator

from benchmarks.load.script import Ask

PATIENCE_SECONDS = 300
DATA = b"data: "
DONE = b"[DONE]"


class OpenAiStreams:
    """Asks for the ids of the tokens with each event, so that several in one event are counted."""

    def __init__(self, address: str, model: str) -> None:
        self._address = address
        self._model = model
        self._idle = threading.local()

    def __call__(self, ask: Ask) -> Generator[int, None, None]:
        body = {
            "model": self._model,
            "prompt": list(ask.prompt),
            "max_tokens": ask.tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "return_token_ids": True,
        }
        connection = self._connect()
        finished = False
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise ConnectionError(f"{response.status}: {response.read(500)!r}")
            for line in response:
                if not line.startswith(DATA):
                    continue
                event = line[len(DATA) :].strip()
                if event == DONE:
                    response.read()
                    finished = True
                    return
                for choice in json.loads(event)["choices"]:
                    if choice["token_ids"]:
                        yield len(choice["token_ids"])
        finally:
            if not finished:
                connection.close()
                del self._idle.connection

    def _connect(self) -> http.client.HTTPConnection:
        """This thread's connection, kept alive between its requests."""
        if not hasattr(self._idle, "connection"):
            self._idle.connection = http.client.HTTPConnection(self._address, timeout=PATIENCE_SECONDS)
        connection: http.client.HTTPConnection = self._idle.connection
        return connection

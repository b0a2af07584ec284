"""Pages of `t2ikit demo` served in this process, and clients of their queue."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from browser_support import WAIT, in_thread, until

from t2ikit.demo import server
from t2ikit.demo.models import DemoModel

VALUES = {
    "first": "denoiser",
    "second": "none",
    "text": "a red square",
    "each": 1,
    "seed": 0,
    "steps": 3,
    "guidance": 2.0,
    "sampler": "own",
    "negative": "",
    "aspect": "1:1",
    "image": None,
    "strength": 0.8,
}
"""The controls in their order."""
FILE = {"_type": "gradio.FileData"}


@contextmanager
def served(models: Sequence[DemoModel], folder, waiting: int = 32) -> Iterator[str]:
    """The address of a page of models; what is uploaded goes to a folder."""
    with pytest.MonkeyPatch.context() as patch, server.listen("127.0.0.1", 0) as listening:
        patch.setenv("GRADIO_TEMP_DIR", "")  # put back afterwards
        running = server.make_server(server.make_app(models, "127.0.0.1", folder, waiting))
        with in_thread(lambda: running.run(sockets=[listening])):
            until(lambda: running.started, what="the server")
            yield server.url_of("127.0.0.1", listening)
            running.should_exit = True


def ask(url: str, **values: Any) -> dict[str, Any]:
    """What the queue of a page makes of values, asked as a browser asks; NaN is sent as it is."""
    with urllib.request.urlopen(f"{url}config", timeout=WAIT / 1000) as answer:
        events = json.load(answer)["dependencies"]
    number = next(event["id"] for event in events if event["api_name"] == "sample")
    session = uuid.uuid4().hex
    data = list({**VALUES, **values}.values())
    body = json.dumps({"data": data, "fn_index": number, "session_hash": session}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}gradio_api/queue/join", body, headers)
    urllib.request.urlopen(request, timeout=WAIT / 1000).close()
    with urllib.request.urlopen(
        f"{url}gradio_api/queue/data?session_hash={session}", timeout=WAIT / 1000
    ) as stream:
        for line in stream:
            message = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if message.get("msg") == "process_completed":
                return message["output"]
    raise AssertionError("the stream ended")


def html_of(output: dict[str, Any]) -> str:
    """What the page shows of an answer, or the error that gradio shows."""
    return output["data"][0] if "data" in output else output["error"]

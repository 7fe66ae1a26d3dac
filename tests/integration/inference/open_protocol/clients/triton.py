"""What tritonclient sees of the server at ADDRESS, as JSON: `python triton.py ADDRESS`."""

import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def texts(name: str, *given: str) -> Any:
    tensor = triton.InferInput(name, [len(given)], "BYTES")
    tensor.set_data_from_numpy(np.array([one.encode() for one in given], dtype=np.object_))
    return tensor


def failure(act: Any) -> list[str]:
    try:
        act()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return []


def streamed(client: Any) -> dict[str, list[Any]]:
    """Text parts by request, and failures under ""."""
    came: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    client.start_stream(callback=lambda result, error: came.put((result, error)))
    for name in ("one", "two"):
        parameters = {"max_tokens": 6, "ignore_eos": True}
        client.async_stream_infer("chat", [texts("text_input", "hello")], request_id=name, parameters=parameters)
    client.async_stream_infer("nobody", [texts("text_input", "hello")], request_id="three")
    found: dict[str, list[Any]] = {"one": [], "two": [], "": []}
    ended = 0
    while ended < 3:
        result, error = came.get(timeout=30)
        if error is not None:
            found[""].append(error.message())
            ended += 1
            continue
        response = result.get_response()
        found[response.id].append(result.as_numpy("text_output")[0].decode())
        ended += response.parameters["triton_final_response"].bool_param
    client.stop_stream()
    return found


def main(address: str) -> dict[str, Any]:
    client = triton.InferenceServerClient(address)
    found: dict[str, Any] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready(name) for name in ("chat", "nobody")],
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata("classification", as_json=True),
        "config": client.get_model_config("chat", as_json=True)["config"],
        "index": client.get_model_repository_index(as_json=True)["models"],
    }
    labels = client.infer("classification", [texts("text_input", "a good film", "the door")], request_id="mine")
    found["labels"] = [one.decode() for one in labels.as_numpy("label")]
    found["probabilities"] = labels.as_numpy("probabilities").tolist()
    found["id"] = labels.get_response().id
    found["vectors"] = list(client.infer("embedding", [texts("text_input", "a", "b")]).as_numpy("embedding").shape)
    whole = client.infer("chat", [texts("text_input", "hello")], parameters={"max_tokens": 6, "ignore_eos": True})
    found["text"] = whole.as_numpy("text_output")[0].decode()
    found["streamed"] = streamed(client)
    client.load_model("chat")
    number = triton.InferInput("text_input", [1], "FP32")
    number.set_data_from_numpy(np.array([1], dtype=np.float32))
    found["failures"] = {
        "type": failure(lambda: client.infer("classification", [number])),
        "model": failure(lambda: client.infer("nobody", [texts("text_input", "a")])),
        "parameter": failure(lambda: client.infer("chat", [texts("text_input", "a")], parameters={"colour": "red"})),
        "timeout": failure(lambda: client.infer("chat", [texts("text_input", "a")], timeout=1)),
        "unload": failure(lambda: client.unload_model("chat")),
    }
    found["answered"] = len(client.get_inference_statistics("embedding", as_json=True)["model_stats"])
    client.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))

"""What KServe's client sees of the server at ADDRESS, as JSON: `python kserve_client.py ADDRESS`."""

import asyncio
import json
import sys
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


def request(model: str, *given: str, **parameters: Any) -> Any:
    tensor = InferInput("text_input", [len(given)], "BYTES", data=list(given))
    return InferRequest(model_name=model, infer_inputs=[tensor], request_id="mine", parameters=parameters)


def raw(model: str, *given: str) -> Any:
    tensor = InferInput("text_input", [len(given)], "BYTES")
    tensor.set_data_from_numpy(np.array([one.encode() for one in given], dtype=np.object_), binary_data=True)
    return InferRequest(model_name=model, infer_inputs=[tensor])


async def main(address: str) -> dict[str, Any]:
    async with InferenceGRPCClient(address) as client:
        found: dict[str, Any] = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": [await client.is_model_ready(name) for name in ("chat", "nobody")],
        }
        labels = await client.infer(request("classification", "a good film", "the door"))
        by_name = {one.name: one for one in labels.outputs}
        found["labels"] = by_name["label"].as_numpy().tolist()
        found["probabilities"] = by_name["probabilities"].as_numpy().tolist()
        found["id"], found["version"] = labels.id, labels.model_version
        same = await client.infer(raw("classification", "a good film", "the door"))
        found["raw"] = {one.name: one for one in same.outputs}["label"].as_numpy().tolist()
        text = await client.infer(request("chat", "hello", max_tokens=6, ignore_eos=True))
        found["text"] = text.outputs[0].as_numpy().tolist()[0]
        try:
            await client.infer(request("nobody", "a"))
        except grpc.RpcError as error:
            found["failure"] = [error.code().name, error.details()]
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1])), default=bytes.decode))

"""Asking for text."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from shared.client.connection import Connection
from shared.client.generation import Generation
from shared.contracts.generated.flywheel.common.v1 import common_pb2 as common
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub

GENERATE_SECONDS = 300.0
"""Deadline of a streamed answer, unless one is given."""


class GenerationCalls:
    """Text from models. Raises the errors of shared.errors."""

    _inference: Connection

    def generate(
        self,
        model: str,
        prompt: str | Sequence[Mapping[str, str]],
        *,
        alias: str = "",
        version: int = 0,
        n: int = 1,
        max_tokens: int | None = None,
        min_tokens: int | None = None,
        stop: Sequence[str] = (),
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        logit_bias: Mapping[int, float] | None = None,
        seed: int | None = None,
        num_beams: int | None = None,
        length_penalty: float | None = None,
        json_schema: str | Mapping[str, Any] | None = None,
        regex: str | None = None,
        choices: Sequence[str] = (),
        lark: str | None = None,
        logprobs: int | None = None,
        echo: bool = False,
        priority: int = 0,
        cache_salt: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> Generation:
        """Streams `n` answers. `prompt` is plain text, or a conversation of {"role": …, "content": …}.

        At most one of `json_schema`, `regex`, `choices` and `lark` says what an answer must look like. `logprobs` asks
        for log-probabilities with so many alternatives, `echo` for the prompt as the first chunk.
        """
        request = pb.GenerateRequest(
            model=model_ref(model, alias, version),
            sampling=pb.Sampling(
                temperature=temperature,
                top_p=top_p,
                top_k=top_k,
                min_p=min_p,
                repetition_penalty=repetition_penalty,
                presence_penalty=presence_penalty,
                frequency_penalty=frequency_penalty,
                logit_bias=logit_bias,
                seed=seed,
                num_beams=num_beams,
                length_penalty=length_penalty,
            ),
            stopping=pb.Stopping(max_tokens=max_tokens, min_tokens=min_tokens, stop=stop),
            request_id=request_id or new_id(),
            constraint=_constraint(json_schema, regex, choices, lark),
            logprobs=logprobs,
            n=n,
            priority=priority,
            cache_salt=cache_salt,
            echo=echo,
        )
        if isinstance(prompt, str):
            request.text = prompt
        else:
            turns = [common.Message(role=turn["role"], content=turn["content"]) for turn in prompt]
            request.messages.CopyFrom(pb.Messages(messages=turns))
        stub = self._inference.stub(InferenceStub)
        return Generation(self._inference, lambda: stub.Generate(request, timeout=timeout or GENERATE_SECONDS))

    def chat(self, model: str, message: str, **options: object) -> Generation:
        """Streams the answer to one message of a user; takes the options of `generate`."""
        return self.generate(model, [{"role": "user", "content": message}], **options)  # type: ignore[arg-type]


def new_id() -> str:
    return uuid.uuid4().hex


def model_ref(name: str, alias: str, version: int) -> common.ModelRef:
    if alias and version:
        raise ValueError("give an alias or a version, not both")
    if version:
        return common.ModelRef(name=name, version=version)
    return common.ModelRef(name=name, alias=alias) if alias else common.ModelRef(name=name)


def _constraint(
    json_schema: str | Mapping[str, Any] | None, regex: str | None, choices: Sequence[str], lark: str | None
) -> pb.Constraint | None:
    given = [name for name, value in (("json_schema", json_schema), ("regex", regex), ("lark", lark)) if value]
    given += ["choices"] if choices else []
    if len(given) > 1:
        raise ValueError(f"give one of {' and '.join(given)}")
    if not given:
        return None
    if isinstance(json_schema, Mapping):
        json_schema = json.dumps(json_schema)
    wanted = pb.Choices(choices=choices) if choices else None
    return pb.Constraint(json_schema=json_schema, regex=regex, lark=lark, choices=wanted)

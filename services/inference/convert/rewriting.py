"""Translate and Summarize."""

from dataclasses import replace

from services.inference.answering.asking import Answered
from services.inference.answering.rewriting import usage_of
from services.inference.convert.common import lineage, timings
from services.inference.kinds.capabilities import Rewriting, Rewritten
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb

FIELDS = ("max_tokens", "min_tokens", "num_beams", "length_penalty")


def bounds(message: pb.Rewriting) -> Rewriting:
    """Our defaults where the client set nothing."""
    return replace(Rewriting(), **{name: getattr(message, name) for name in FIELDS if message.HasField(name)})


def translate_response(answer: Answered[list[Rewritten]]) -> pb.TranslateResponse:
    return pb.TranslateResponse(
        results=_results(answer),
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        request_id=answer.request_id,
        usage=_usage(answer),
    )


def summarize_response(answer: Answered[list[Rewritten]]) -> pb.SummarizeResponse:
    return pb.SummarizeResponse(
        results=_results(answer),
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        request_id=answer.request_id,
        usage=_usage(answer),
    )


def _results(answer: Answered[list[Rewritten]]) -> list[pb.Rewritten]:
    return [pb.Rewritten(text=one.text, score=one.score) for one in answer.result]


def _usage(answer: Answered[list[Rewritten]]) -> pb.Usage:
    usage = usage_of(answer.result)
    return pb.Usage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)

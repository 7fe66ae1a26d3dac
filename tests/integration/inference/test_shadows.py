"""Every method that answers at once gives the shadows of its model a copy."""

from collections.abc import Callable
from functools import partial
from typing import Any

from prometheus_client import REGISTRY

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from tests.integration.inference.platform import Platform
from tests.support.tiny_encoders import tiny_bert, tiny_seq2seq, write_version
from tests.support.wait import eventually

TEXTS = ["turn the key and push the door", "a good film"]
MARKED = pb.MarkedText(text=TEXTS[0], head=pb.Span(start=9, end=12), tail=pb.Span(start=26, end=30))
QUESTION = pb.Question(question="what is the price?", context="it is ten coins for one")
KINDS = ("token_classification", "relation_extraction", "question_answering", "embedding", "ranking", "summarisation")


def add(platform: Platform, kind: str, seed: int) -> None:
    folder = platform.folder / f"{kind}-{seed}"
    if kind == "summarisation":
        write_version(folder, kind, tiny_seq2seq("bart", seed))
    else:
        model, labels = tiny_bert(kind, seed)
        write_version(folder, kind, model, labels)
    platform.add_folder(f"shadowed-{kind}", folder)


def shadow(platform: Platform, kind: str, version: int) -> None:
    share = serving_pb2.TrafficShare(version=version, share=1.0)
    request = serving_pb2.SetTrafficRequest(model=f"shadowed-{kind}", shadows=[share])
    platform.serving.SetTraffic(request, timeout=30)


def told(kind: str, version: int, outcome: str) -> bool:
    labels = {"model": f"shadowed-{kind}", "version": str(version), "outcome": outcome}
    return bool(REGISTRY.get_sample_value("flywheel_inference_shadows_total", labels))


def calls(platform: Platform) -> dict[str, Callable[[], Any]]:
    """One call a kind."""
    stub = platform.inference

    def of(kind: str, method: Callable[..., Any], request: type[Any], **fields: Any) -> Callable[[], Any]:
        model = common_pb2.ModelRef(name=f"shadowed-{kind}")
        return lambda: method(request(model=model, **fields), timeout=60)

    return {
        "token_classification": of("token_classification", stub.TagTokens, pb.TagTokensRequest, texts=TEXTS),
        "relation_extraction": of(
            "relation_extraction", stub.ExtractRelations, pb.ExtractRelationsRequest, texts=[MARKED]
        ),
        "question_answering": of(
            "question_answering", stub.AnswerQuestion, pb.AnswerQuestionRequest, questions=[QUESTION]
        ),
        "embedding": of("embedding", stub.Embed, pb.EmbedRequest, texts=TEXTS),
        "ranking": of("ranking", stub.Score, pb.ScoreRequest, query="the door", candidates=TEXTS),
        "summarisation": of(
            "summarisation", stub.Summarize, pb.SummarizeRequest, texts=TEXTS, rewriting=pb.Rewriting(max_tokens=6)
        ),
    }


def test_a_shadow_with_the_same_weights_agrees_in_every_method(platform: Platform) -> None:
    for kind in KINDS:
        platform.declare(f"shadowed-{kind}", kind)
        for _ in range(2):
            add(platform, kind, seed=0)
        platform.point(f"shadowed-{kind}", 1)
    platform.start()
    for kind in KINDS:
        eventually(partial(platform.holds, f"shadowed-{kind}", 1))
        shadow(platform, kind, 2)
    for kind, call in calls(platform).items():
        name = f"shadowed-{kind}"
        eventually(lambda: platform.deployment(name, 2).shadow_share == 1.0)  # noqa: B023
        assert call().lineage.version == 1
        eventually(lambda: told(kind, 2, "agreed"))  # noqa: B023
        assert not any(told(kind, 2, other) for other in ("differed", "failed", "answered"))


def test_a_shadow_with_other_weights_differs(platform: Platform) -> None:
    platform.declare("shadowed-embedding", "embedding")
    for seed in (0, 1, 2):
        add(platform, "embedding", seed)
    platform.point("shadowed-embedding", 1)
    platform.start()
    eventually(lambda: platform.holds("shadowed-embedding", 1))
    shadow(platform, "embedding", 3)
    eventually(lambda: platform.deployment("shadowed-embedding", 3).shadow_share == 1.0)
    assert calls(platform)["embedding"]().lineage.version == 1
    eventually(lambda: told("embedding", 3, "differed"))

"""Every method of encoders through the door, against transformers run plainly."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.modeling.kinds.markers import mark
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from shared.storage.tables import Base
from shared.telemetry import metrics
from tests.integration.inference.platform import Platform
from tests.support.tiny_encoders import HEADS, TAGS, tiny_bert, word_tokenizer, write_version
from tests.support.wait import eventually

TEXTS = ("the quick brown fox jumps", "a good film", "how do I open the door? turn the key and push the door")
TOKENIZER = word_tokenizer()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One model a kind, named after it with dashes."""
    folder: Path = tmp_path_factory.mktemp("encoders")
    database = Database(f"sqlite:///{folder / 'flywheel.db'}")
    Base.metadata.create_all(database.engine)
    quiet_libraries()
    platform = Platform(folder, database)
    for kind in HEADS:
        platform.declare(name_of(kind), kind)
        platform.point(name_of(kind), platform.add_folder(name_of(kind), version(folder / kind, kind)))
    platform.start()
    eventually(lambda: sum(bool(one.aliases) for one in platform.deployments().values()) == len(HEADS), 60)
    yield platform
    platform.close()
    database.close()


def version(folder: Path, kind: str) -> Path:
    model, labels = tiny_bert(kind)
    return write_version(folder, kind, model, labels)


def name_of(kind: str) -> str:
    return kind.replace("_", "-")


def ref(kind: str) -> common_pb2.ModelRef:
    return common_pb2.ModelRef(name=name_of(kind))


def failure(call: Callable[..., Any], request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=20)
    return caught.value.code(), str(caught.value.details())


@torch.inference_mode()
def plain(kind: str, *inputs: Any, **options: Any) -> Any:
    """What transformers gives for one text or pair."""
    model, _ = tiny_bert(kind)
    return model(**TOKENIZER(*inputs, return_tensors="pt", truncation=True, **options))


def test_pairs_are_classified_as_transformers_does(served: Platform) -> None:
    pairs = [("how do I open the door", "turn the key"), ("what is the price", "ten coins")]
    request = pb.ClassifyRequest(
        model=ref("classification"), pairs=[pb.TextPair(text=one, text_pair=two) for one, two in pairs]
    )
    answer = served.inference.Classify(request, timeout=20)
    labels = HEADS["classification"][1]
    for pair, result in zip(pairs, answer.results, strict=True):
        wanted = plain("classification", *pair).logits[0].softmax(-1)
        assert result.labels[0].label == labels[int(wanted.argmax())]
        assert {one.label: one.score for one in result.labels} == pytest.approx(
            dict(zip(labels, wanted.tolist(), strict=True)), abs=0.02
        )


def test_explanations_cover_the_words_in_order_and_their_absolute_values_sum_to_one(served: Platform) -> None:
    request = pb.ClassifyRequest(model=ref("classification"), texts=TEXTS, explain=True)
    answer = served.inference.Classify(request, timeout=60)
    for text, result in zip(TEXTS, answer.results, strict=True):
        pieces = result.attributions
        assert [text[one.start : one.end] for one in pieces] == [one.text for one in pieces]
        assert "".join(one.text for one in pieces) == text.replace(" ", "")
        assert sum(abs(one.score) for one in pieces) == pytest.approx(1, abs=1e-5)
    assert not served.classify("classification", TEXTS).results[0].attributions


def test_explanations_of_a_pair_say_which_text_a_word_stands_in(served: Platform) -> None:
    pair = pb.TextPair(text="open the door", text_pair="turn the key")
    request = pb.ClassifyRequest(model=ref("classification"), pairs=[pair], explain=True)
    pieces = served.inference.Classify(request, timeout=60).results[0].attributions
    assert [one.text for one in pieces if not one.in_pair] == ["open", "the", "door"]
    assert [one.text for one in pieces if one.in_pair] == ["turn", "the", "key"]


def test_entities_are_those_of_the_tags_that_transformers_gives(served: Platform) -> None:
    answer = served.inference.TagTokens(pb.TagTokensRequest(model=ref("token_classification"), texts=TEXTS), timeout=20)
    found = 0
    for text, result in zip(TEXTS, answer.results, strict=True):
        shares = plain("token_classification", text).logits[0].softmax(-1)
        encoded = TOKENIZER(text)
        words = encoded.word_ids()
        tag_at = {
            encoded.word_to_chars(word).start: TAGS[int(shares[words.index(word)].argmax())]
            for word in set(words) - {None}
        }
        assert [one.start for one in result.entities if tag_at[one.start] == "O"] == []
        covered = {start for one in result.entities for start in tag_at if one.start <= start < one.end}
        assert covered == {start for start, tag in tag_at.items() if tag != "O"}
        assert all(one.text == text[one.start : one.end] for one in result.entities)
        assert all(one.label in ("PER", "LOC") and 0 < one.score <= 1 for one in result.entities)
        found += len(result.entities)
    assert found
    assert answer.lineage.model == "token-classification"


def test_words_that_come_cut_give_the_entities_of_the_whole_text(served: Platform) -> None:
    cut = [pb.Words(words=text.split()) for text in TEXTS[:2]]
    whole = served.inference.TagTokens(
        pb.TagTokensRequest(model=ref("token_classification"), texts=TEXTS[:2]), timeout=20
    )
    words = served.inference.TagTokens(
        pb.TagTokensRequest(model=ref("token_classification"), tokenised=cut), timeout=20
    )
    assert [list(one.entities) for one in words.results] == [list(one.entities) for one in whole.results]


def test_a_text_longer_than_the_model_is_tagged_to_its_end(served: Platform) -> None:
    text = " ".join(["the quick brown fox jumps over the lazy dog"] * 20)
    answer = served.inference.TagTokens(
        pb.TagTokensRequest(model=ref("token_classification"), texts=[text]), timeout=20
    )
    assert answer.results[0].entities[-1].end > len(text) * 0.9


def test_relations_have_labels_and_directions(served: Platform) -> None:
    text = "turn the key and push the door"
    head, tail = (9, 12), (26, 30)
    marked = pb.MarkedText(text=text, head=pb.Span(start=9, end=12), tail=pb.Span(start=26, end=30))
    request = pb.ExtractRelationsRequest(model=ref("relation_extraction"), texts=[marked])
    (found,) = served.inference.ExtractRelations(request, timeout=20).results
    shares = plain("relation_extraction", mark(text, head, tail)).logits[0].softmax(-1)
    labels = HEADS["relation_extraction"][1]
    best = labels[int(shares.argmax())]
    assert found.label == best.partition("(")[0]
    assert found.score == pytest.approx(float(shares.max()), abs=1e-4)
    directions = {"Other": 0, "Cause-Effect(e1,e2)": 1, "Cause-Effect(e2,e1)": 2}
    assert found.direction == directions[best]


def test_an_answer_is_the_best_span_of_the_context(served: Platform) -> None:
    question, context = "what is the price?", "it is ten coins for one and fifteen coins for two"
    request = pb.AnswerQuestionRequest(
        model=ref("question_answering"), questions=[pb.Question(question=question, context=context)]
    )
    (found,) = served.inference.AnswerQuestion(request, timeout=20).answers
    encoded = TOKENIZER(question, context)
    outputs = plain("question_answering", question, context)
    starts, ends = outputs.start_logits[0], outputs.end_logits[0]
    inside = [place for place, which in enumerate(encoded.sequence_ids()) if which == 1]
    sums = {(one, two): float(starts[one] + ends[two]) for one in inside for two in inside if one <= two}
    empty = float(starts[0] + ends[0])
    total = torch.tensor([*sums.values(), empty]).logsumexp(0)
    first, last = max(sums, key=sums.__getitem__)
    assert found.no_answer == pytest.approx(float((torch.tensor(empty) - total).exp()), abs=1e-4)
    assert found.score == pytest.approx(float((torch.tensor(sums[first, last]) - total).exp()), abs=1e-4)
    if found.score > found.no_answer:
        wanted = (encoded.token_to_chars(first).start, encoded.token_to_chars(last).end)
        assert (found.span.start, found.span.end) == wanted
        assert found.text == context[slice(*wanted)]


def test_a_context_of_any_length_is_read(served: Platform) -> None:
    context = "the lazy dog sleeps. " * 400
    request = pb.AnswerQuestionRequest(
        model=ref("question_answering"), questions=[pb.Question(question="who sleeps?", context=context)] * 2
    )
    one, two = served.inference.AnswerQuestion(request, timeout=30).answers
    assert one == two
    assert 0 <= one.score <= 1


def test_the_best_candidate_answers(served: Platform) -> None:
    candidates = ["ten coins", "turn the key", "great service"]
    request = pb.AnswerQuestionRequest(
        model=ref("answer_selection"),
        questions=[pb.Question(question="what is the price?", candidates=candidates)],
    )
    (found,) = served.inference.AnswerQuestion(request, timeout=20).answers
    odds = []
    for candidate in candidates:
        logits = plain("answer_selection", "what is the price?", candidate).logits[0]
        odds.append(float(logits[1] - logits[0]))
    wanted = torch.tensor(odds).softmax(-1)
    assert list(found.candidate_scores) == pytest.approx(wanted.tolist(), abs=1e-4)
    assert found.candidate == int(wanted.argmax())
    assert found.text == candidates[found.candidate]


def test_vectors_are_the_mean_of_the_last_hidden_states(served: Platform) -> None:
    answer = served.inference.Embed(pb.EmbedRequest(model=ref("embedding"), texts=TEXTS), timeout=20)
    for text, vector in zip(TEXTS, answer.vectors, strict=True):
        wanted = plain("embedding", text).last_hidden_state[0].mean(0)
        assert list(vector.values) == pytest.approx(wanted.tolist(), abs=1e-5)
    normalised = served.inference.Embed(
        pb.EmbedRequest(model=ref("embedding"), texts=TEXTS, normalise=True), timeout=20
    )
    assert sum(value**2 for value in normalised.vectors[0].values) == pytest.approx(1, abs=1e-5)


def test_any_encoder_embeds_also_one_with_a_head(served: Platform) -> None:
    answer = served.inference.Embed(pb.EmbedRequest(model=ref("classification"), texts=["a good film"]), timeout=20)
    model, _ = tiny_bert("classification")
    with torch.inference_mode():
        hidden = model.bert(**TOKENIZER("a good film", return_tensors="pt")).last_hidden_state
    assert list(answer.vectors[0].values) == pytest.approx(hidden[0].mean(0).tolist(), abs=1e-5)


def test_scores_are_logits_of_a_cross_encoder_or_cosines_of_vectors(served: Platform) -> None:
    query = "how do I open the door?"
    ranked = served.inference.Score(pb.ScoreRequest(model=ref("ranking"), query=query, candidates=TEXTS), timeout=20)
    wanted = [float(plain("ranking", query, text).logits[0, 0]) for text in TEXTS]
    assert list(ranked.scores) == pytest.approx(wanted, abs=1e-4)
    close = served.inference.Score(
        pb.ScoreRequest(model=ref("embedding"), query=query, candidates=[query, *TEXTS]), timeout=20
    )
    assert close.scores[0] == pytest.approx(1, abs=1e-5)
    assert all(-1.0001 <= score <= 1.0001 for score in close.scores)


def test_a_request_for_another_kind_names_the_kind_and_its_methods(served: Platform) -> None:
    code, details = failure(served.inference.TagTokens, pb.TagTokensRequest(model=ref("ranking"), texts=["a"]))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "is of kind ranking, which answers Embed, Score, Tokenize" in details
    assert "needs kind token_classification" in details
    question = pb.Question(question="why?", context="because")
    request = pb.AnswerQuestionRequest(model=ref("answer_selection"), questions=[question])
    code, details = failure(served.inference.AnswerQuestion, request)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "among candidates" in details


SPAN = pb.Span(start=0, end=3)


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("TagTokens", pb.TagTokensRequest(), "texts is 0"),
        ("TagTokens", pb.TagTokensRequest(texts=[" "]), r"texts[0] is empty"),
        ("TagTokens", pb.TagTokensRequest(texts=["a"], tokenised=[pb.Words(words=["b"])]), "texts and tokenised"),
        ("TagTokens", pb.TagTokensRequest(tokenised=[pb.Words()]), "tokenised[0].words is 0"),
        ("Embed", pb.EmbedRequest(texts=["a"] * 257), "texts is 257"),
        ("Embed", pb.EmbedRequest(texts=["a" * 70_000]), "70000 bytes"),
        ("Score", pb.ScoreRequest(query="", candidates=["a"]), "query is empty"),
        ("Score", pb.ScoreRequest(query="a", candidates=["b"] * 1025), "candidates is 1025"),
        ("AnswerQuestion", pb.AnswerQuestionRequest(), "questions is 0"),
        ("AnswerQuestion", pb.AnswerQuestionRequest(questions=[pb.Question(question="a")]), "both missing"),
        (
            "AnswerQuestion",
            pb.AnswerQuestionRequest(questions=[pb.Question(question="a", context="b", candidates=["c"])]),
            "both given",
        ),
        (
            "ExtractRelations",
            pb.ExtractRelationsRequest(texts=[pb.MarkedText(text="four", head=SPAN, tail=pb.Span(start=2, end=9))]),
            "texts[0].tail is 2 to 9",
        ),
        (
            "ExtractRelations",
            pb.ExtractRelationsRequest(texts=[pb.MarkedText(text="four", head=SPAN, tail=pb.Span(start=2, end=4))]),
            "overlap",
        ),
        ("Classify", pb.ClassifyRequest(texts=["a"], pairs=[pb.TextPair(text="a", text_pair="b")]), "texts and pairs"),
        ("Classify", pb.ClassifyRequest(pairs=[pb.TextPair(text="a")]), "pairs[0].text_pair is empty"),
        ("Classify", pb.ClassifyRequest(texts=["a"] * 17, explain=True), "at most 16"),
        ("Classify", pb.ClassifyRequest(texts=["a"], top_k=-1), "top_k is -1"),
        ("Embed", pb.EmbedRequest(texts=["a"], request_id="x" * 200), "request_id has 200"),
    ],
)
def test_what_can_not_be_right_is_refused_by_name(served: Platform, method: str, request_: Any, field: str) -> None:
    kinds = {
        "TagTokens": "token_classification",
        "Embed": "embedding",
        "Score": "ranking",
        "AnswerQuestion": "question_answering",
        "ExtractRelations": "relation_extraction",
        "Classify": "classification",
    }
    request = type(request_)()
    request.CopyFrom(request_)
    request.model.CopyFrom(ref(kinds[method]))
    code, details = failure(getattr(served.inference, method), request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in details


def test_spans_too_far_apart_are_refused_and_near_ones_in_a_long_text_are_read(served: Platform) -> None:
    text = " ".join(["the lazy dog"] * 60)
    far = pb.MarkedText(text=text, head=pb.Span(start=0, end=3), tail=pb.Span(start=700, end=703))
    request = pb.ExtractRelationsRequest(model=ref("relation_extraction"), texts=[far])
    code, details = failure(served.inference.ExtractRelations, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "too far apart" in details
    near = pb.MarkedText(text=text, head=pb.Span(start=390, end=393), tail=pb.Span(start=403, end=406))
    request = pb.ExtractRelationsRequest(model=ref("relation_extraction"), texts=[near])
    assert served.inference.ExtractRelations(request, timeout=20).results[0].label in ("Other", "Cause-Effect")


def test_a_question_that_fills_the_model_is_refused(served: Platform) -> None:
    question = pb.Question(question="why " * 60, context="because")
    request = pb.AnswerQuestionRequest(model=ref("question_answering"), questions=[question])
    code, details = failure(served.inference.AnswerQuestion, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "no room for context" in details


def test_every_answer_can_be_explained_and_is_counted(served: Platform) -> None:
    request = pb.EmbedRequest(model=ref("embedding"), texts=["a good film"], request_id="vector-1")
    before = count("Embed", "embedding")
    served.inference.Embed(request, timeout=20)
    told = served.inference.ExplainResponse(pb.ExplainResponseRequest(request_id="vector-1"), timeout=20)
    assert (told.method, told.lineage.model, told.lineage.version) == ("Embed", "embedding", 1)
    assert count("Embed", "embedding") == before + 1


def test_a_deadline_that_passed_is_not_answered(served: Platform) -> None:
    many = pb.EmbedRequest(model=ref("embedding"), texts=["a good film " * 20] * 100)  # no machine is that fast
    with pytest.raises(grpc.RpcError) as caught:
        served.inference.Embed(many, timeout=0.001)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def count(method: str, model: str) -> float:
    histogram = metrics.INFERENCE_REQUEST_SECONDS.labels(method, model, "OK")
    return sum(sample.value for sample in histogram._child_samples() if sample.name == "_count")

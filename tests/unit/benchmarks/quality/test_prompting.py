import pytest
import torch

from benchmarks.quality.prompting import Writer, turns
from shared.modeling.bases import BaseModel
from shared.modeling.digests import base_digest
from shared.modeling.kinds.base import IGNORED
from shared.modeling.kinds.turns import encode_prompt
from shared.modeling.loading import load_base
from tests.support.tiny_models import tiny_decoder


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tiny_decoder(tmp_path_factory.mktemp("models") / "writer")
    return Writer(load_base(BaseModel(str(folder), folder, base_digest(folder)), "chat", max_length=256))


@torch.inference_mode()
def plain_likelihood(writer, prompt, answer):
    """One pass over prompt and answer, nothing kept."""
    tokenizer = writer.loaded.tokenizer
    before = encode_prompt(tokenizer, prompt, 256)
    said = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    chances = writer.loaded.model(torch.tensor([before + said])).logits[0].log_softmax(-1)
    return sum(float(chances[len(before) + at - 1, token]) for at, token in enumerate(said))


def test_likelihoods_are_those_of_a_plain_pass(writer):
    answers = ["good", "bad film", "a"]
    for question in ("the fox jumps", "the fox jumps over", "a", "the fox jumps over the lazy dog", "a"):
        prompt = turns("say what fits", [("a good film", "good")], question)
        found = writer.log_likelihoods(prompt, answers)
        assert found == pytest.approx([plain_likelihood(writer, prompt, answer) for answer in answers], abs=1e-3)


def test_more_answers_than_fit_one_pass_are_weighed_alike(writer):
    prompt = turns("say", [], "what is the price?")
    answers = [f"{number} coins" for number in range(40)]
    together = writer.log_likelihoods(prompt, answers)
    assert together[37] == pytest.approx(writer.log_likelihoods(prompt, [answers[37]])[0], abs=1e-3)


@torch.inference_mode()
def test_the_loss_of_an_answer_is_that_of_a_plain_pass(writer):
    tokenizer = writer.loaded.tokenizer
    before, ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("the quick fox", "a bad film"))
    targets = [ids[0], *[IGNORED] * (len(ids) - 3), *ids[-2:]]
    chances = writer.loaded.model(torch.tensor([before + ids])).logits[0].log_softmax(-1)
    places = [len(before) + len(ids) - 3, len(before) + len(ids) - 2]
    wanted = -sum(float(chances[place, token]) for place, token in zip(places, ids[-2:], strict=True))
    for _ in range(2):
        assert writer.nats(before, ids, targets) == pytest.approx(wanted, abs=1e-3)


def test_prompts_are_completed_in_their_order_and_each_as_if_alone(writer):
    tokenizer = writer.loaded.tokenizer
    texts = ["the quick", "what is the price? it is ten coins for", "a"]
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    together = writer.complete(prompts, 6)
    assert together == [writer.complete([prompt], 6)[0] for prompt in prompts]
    assert writer.complete([], 6) == []

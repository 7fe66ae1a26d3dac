"""Tiny models of every kind on an encoder or on encoder and decoder, with random weights, as model folders with a card."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from shared.modeling.card import ModelCard
from shared.modeling.digests import weights_digest
from shared.modeling.kinds.markers import HEAD, TAIL
from tests.support.tiny_models import CORPUS

LENGTH = 48
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
RELATIONS = ("Other", "Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)")
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *HEAD, *TAIL, "en_XX", "de_DE", "fr_XX"]
Fast: Any = PreTrainedTokenizerFast
HEADS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "classification": (BertForSequenceClassification, ("bad", "good", "neutral")),
    "token_classification": (BertForTokenClassification, TAGS),
    "relation_extraction": (BertForSequenceClassification, RELATIONS),
    "question_answering": (BertForQuestionAnswering, ()),
    "answer_selection": (BertForSequenceClassification, ("no", "yes")),
    "ranking": (BertForSequenceClassification, ()),
    "embedding": (BertModel, ()),
}


def word_tokenizer(length: int = LENGTH) -> Any:
    """Word pieces with templates for one text and for pairs; markers and language codes are special tokens."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    words = sorted({word for line in CORPUS for word in line.lower().split() if len(word) > 2})
    pieces = [*SPECIALS, *letters, *(f"##{letter}" for letter in letters), *words]
    tokenizer = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return Fast(
        tokenizer_object=tokenizer,
        model_max_length=length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        additional_special_tokens=[*HEAD, *TAIL, "en_XX", "de_DE", "fr_XX"],
        **names,
    )


def sizes(length: int = LENGTH) -> dict[str, Any]:
    return {
        "vocab_size": len(word_tokenizer()),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": length,
        "pad_token_id": 0,
        "initializer_range": 0.3,
    }


def tiny_bert(kind: str, seed: int = 0) -> tuple[Any, tuple[str, ...]]:
    """A BERT with the head of the kind, and its labels."""
    head, labels = HEADS[kind]
    set_seed(seed)
    options: dict[str, Any] = (
        {"num_labels": len(labels) or 1} if kind not in ("question_answering", "embedding") else {}
    )
    return head(BertConfig(**sizes(), **options)).train(False), labels


def tiny_classifier(family: str, seed: int = 0) -> Any:
    """A sequence classifier of another family than BERT."""
    set_seed(seed)
    if family == "roberta":
        config: dict[str, Any] = {**sizes(), "max_position_embeddings": LENGTH + 2, "type_vocab_size": 2}
        return RobertaForSequenceClassification(RobertaConfig(**{**config, "num_labels": 3})).train(False)
    small: dict[str, Any] = {
        "vocab_size": sizes()["vocab_size"],
        "dim": 32,
        "hidden_dim": 64,
        "n_layers": 2,
        "n_heads": 2,
    }
    distil = DistilBertConfig(**small, max_position_embeddings=LENGTH, pad_token_id=0)
    return DistilBertForSequenceClassification(distil).train(False)


def tiny_seq2seq(family: str, seed: int = 0) -> Any:
    """BART, or T5 with prefixes for two routes and for summaries; short answers, because end is likely."""
    set_seed(seed)
    vocabulary = sizes()["vocab_size"]
    ends: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 2}
    if family == "t5":
        tasks = {
            "summarization": {"prefix": "summarize: "},
            "translation_en_to_de": {"prefix": "translate en to de: "},
            "translation_en_to_fr": {"prefix": "translate en to fr: "},
        }
        config = T5Config(vocab_size=vocabulary, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, **ends)
        config.task_specific_params = tasks
        return T5ForConditionalGeneration(config).train(False)
    bart = BartConfig(
        vocab_size=vocabulary,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=LENGTH * 2,
        bos_token_id=2,
        forced_eos_token_id=3,
        init_std=0.4,
        **ends,
    )
    return BartForConditionalGeneration(bart).train(False)


def tiny_writer(folder: Path, seed: int = 0) -> Path:
    """A BART that learns in a few steps, without a card: a base model. Returns `folder`."""
    config = tiny_seq2seq("bart").config
    config.init_std, config.scale_embedding, config.dropout = 0.05, True, 0.0
    set_seed(seed)
    BartForConditionalGeneration(config).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def write_version(folder: Path, kind: str, model: Any, labels: tuple[str, ...] = (), prompt: str = "") -> Path:
    """The model as a folder that the inference service loads. Returns `folder`."""
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    card = ModelCard(
        kind=kind,
        method="full",
        labels=labels,
        base="tiny",
        base_digest="0" * 64,
        max_length=LENGTH,
        weights_digest=weights_digest(folder),
        adapter_digest="",
        run="run-1",
        dataset_digest="0" * 64,
        precision="float32",
        prompt=prompt,
    )
    card.write(folder)
    return folder

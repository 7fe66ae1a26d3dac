"""Tiny models with random weights and real tokenizers, made on the spot: real parts that train in milliseconds."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from shared.modeling.bases import BaseModel
from shared.modeling.card import ModelCard
from shared.modeling.digests import adapter_digest, base_digest, weights_digest
from shared.modeling.kinds import find_kind
from shared.modeling.loading import load_tokenizer
from shared.modeling.methods import find_method
from shared.pipelines.kinds import KINDS
from shared.pipelines.methods import MethodConfig

FastTokenizer: Any = PreTrainedTokenizerFast
CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "a good film, a bad film, a film that is neither good nor bad",
    "how do I open the door? turn the key and push the door",
    "what is the price? it is ten coins for one and fifteen coins for two",
    "great service thank you very much, awful service never again",
]
ENCODED = frozenset(
    {
        "classification",
        "token_classification",
        "relation_extraction",
        "question_answering",
        "answer_selection",
        "ranking",
        "embedding",
    }
)
"""Kinds that stand on an encoder here."""
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_encoder(folder: Path, seed: int = 0) -> Path:
    """A BERT of 2 layers without a head, about 20k parameters; pads with [PAD]. Returns `folder`."""
    # A vocabulary written down: the trainer breaks ties differently from one call to the next.
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127)]
    words = sorted({word for line in CORPUS for word in line.split() if len(word) > 2})
    pieces = [*specials, *letters, *(f"##{letter}" for letter in letters), *words]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    wrapped = FastTokenizer(
        tokenizer_object=tokenizer,
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    )
    set_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def tiny_decoder(folder: Path, seed: int = 0) -> Path:
    """A Llama of 2 layers with grouped heads and a chat template, about 60k parameters; pad is EOS, as in SmolLM2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    wrapped = FastTokenizer(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        model_max_length=512,
        chat_template=CHAT_TEMPLATE,
    )
    set_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=96,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
        initializer_range=0.2,  # wide enough that a frozen head can tell tokens apart
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def tiny_base(folder: Path, kind: str, seed: int = 0) -> BaseModel:
    """A tiny base model for a kind, resolved."""
    path = tiny_encoder(folder, seed) if kind in ENCODED else tiny_decoder(folder, seed)
    return BaseModel(str(path), path, base_digest(path))


def tiny_model(folder: Path, kind: str, labels: tuple[str, ...] = ("bad", "good"), seed: int = 0) -> Path:
    """A model folder as full fine-tuning leaves it (card included), with random weights. Returns `folder`."""
    base = tiny_base(folder.with_name(f"{folder.name}-base"), kind, seed)
    labels = labels if KINDS[kind].labelled else ()
    set_seed(seed)
    model = find_kind(kind).load(base.path, labels)
    model.save_pretrained(folder)
    for file in base.path.iterdir():
        if not (folder / file.name).exists():
            (folder / file.name).write_bytes(file.read_bytes())
    card = ModelCard(
        kind=kind,
        method="full",
        labels=labels,
        base=base.name,
        base_digest=base.digest,
        max_length=64 if kind in ENCODED else 512,
        weights_digest=weights_digest(folder),
        adapter_digest="",
        run=f"run-{seed}",
        dataset_digest="0" * 64,
        precision="float32",
    )
    card.write(folder)
    return folder


def tiny_adapter(folder: Path, base: BaseModel, seed: int = 0) -> Path:
    """A LoRA adapter of a causal base as a run leaves it (card included), with random weights. Returns `folder`."""
    method = find_method("lora")
    model = method.prepare(find_kind("chat").load(base.path, ()), "chat", MethodConfig(name="lora", lora_rank=4))
    set_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2)
    folder.mkdir(parents=True)
    method.save(model, folder, base.name)
    load_tokenizer(base.path).save_pretrained(folder)
    card = ModelCard(
        kind="chat",
        method="lora",
        labels=(),
        base=base.name,
        base_digest=base.digest,
        max_length=512,
        weights_digest=weights_digest(base.path),
        adapter_digest=adapter_digest(folder),
        run=f"run-{seed}",
        dataset_digest="0" * 64,
        precision="float32",
    )
    card.write(folder)
    return folder

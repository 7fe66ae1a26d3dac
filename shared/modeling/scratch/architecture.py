"""Freshly initialised models of the families that a pipeline can ask for."""

from typing import Any

from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from shared.pipelines.options import Options

INNER_WIDTH = 8 / 3
"""Of a Llama's gated layers, in hidden sizes: as many weights as four hidden sizes without a gate (Shazeer 2020)."""


def new_model(architecture: str, options: Options, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A float32 model of the wanted size with weights drawn from torch's global seed."""
    return _MAKERS[architecture](options, tokenizer)


def _llama(options: Options, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    config = LlamaConfig(
        **_sizes(options),
        **_ends(tokenizer),
        intermediate_size=-(-int(options.hidden_size * INNER_WIDTH) // 8) * 8,
        num_key_value_heads=options.heads,
        tie_word_embeddings=True,
        vocab_size=len(tokenizer),
    )
    return LlamaForCausalLM(config)


def _gpt2(options: Options, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    config = GPT2Config(
        n_embd=options.hidden_size,
        n_layer=options.layers,
        n_head=options.heads,
        n_positions=options.positions,
        vocab_size=len(tokenizer),
        **_ends(tokenizer),
    )
    return GPT2LMHeadModel(config)


def _bert(options: Options, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    config = BertConfig(
        **_sizes(options),
        intermediate_size=4 * options.hidden_size,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertForMaskedLM(config)


def _sizes(options: Options) -> dict[str, Any]:
    return {
        "hidden_size": options.hidden_size,
        "num_hidden_layers": options.layers,
        "num_attention_heads": options.heads,
        "max_position_embeddings": options.positions,
    }


def _ends(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {name: getattr(tokenizer, name) for name in names}


_MAKERS = {"llama": _llama, "gpt2": _gpt2, "bert": _bert}

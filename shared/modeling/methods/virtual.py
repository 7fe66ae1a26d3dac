"""Virtual tokens before every text, in one model for prefix, prompt and P-tuning.

In a causal model whatever stands first is the same for all that follows, so virtual tokens are keys and values that
are there already: a preset. Prefix tuning learns them; prompt and P-tuning learn embeddings, whose keys and values
the base computes once a batch. Texts then begin at the position after them, their outputs stay in their places, and a
server may keep the preset in its cache. An encoder's tokens see what follows; there embeddings go before the texts.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel, PeftType
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from shared.pipelines.architectures import Family, family_of

Preset = Sequence[tuple[Tensor, Tensor]]
"""Per layer keys and values of shape (1, kv heads, virtual tokens, head size)."""
BY_TOKEN = ("last_hidden_state", "start_logits", "end_logits")


class VirtualTokens(PeftModel):
    """A base with PEFT's prompt encoder. Outputs are those of the text alone."""

    def __init__(self, model: PreTrainedModel, config: PeftConfig) -> None:
        super().__init__(cast(Any, model), config, autocast_adapter_dtype=False)
        self.length: int = cast(Any, config).num_virtual_tokens
        self.has_preset = family_of(model.config.to_dict()) is Family.DECODER or config.peft_type == "PREFIX_TUNING"

    def forward(self, **inputs: Any) -> Any:
        """The base's outputs for texts: `input_ids` (rows x positions) padded on the right, or `inputs_embeds`."""
        return self._run(self._base, **inputs)

    def body(self, **inputs: Any) -> Any:
        """The outputs of the base without its head."""
        return self._run(self._base.base_model, **inputs)

    @torch.no_grad()
    def generate(self, *, input_ids: Tensor, attention_mask: Tensor, **settings: Any) -> Tensor:
        """`generate` of a causal base, for prompts padded on the left; the result begins with `input_ids`."""
        rows = len(input_ids)
        # Positions that are in the cache are not looked at, but counted.
        known = input_ids.new_zeros(rows, self.length)
        made: Tensor = self._base.generate(
            input_ids=torch.cat((known, input_ids), dim=1),
            attention_mask=self._seen(attention_mask),
            past_key_values=self._cache(rows),
            **settings,
        )
        return made[:, self.length :]

    @property
    def prefix_table(self) -> Tensor:
        """What prefix tuning learns, shape (virtual tokens, layers x keys and values x width)."""
        encoder: Any = self.prompt_encoder[self.active_adapter]
        table: Tensor = encoder.embedding.weight
        return table

    def preset(self) -> Preset:
        """Keys and values of the virtual tokens; they carry gradients while the model is trained."""
        assert self.has_preset
        config: Any = self.active_peft_config
        if config.peft_type != PeftType.PREFIX_TUNING:
            cache = self._base.base_model(inputs_embeds=self._embeddings(1), use_cache=True).past_key_values
            return [(layer.keys, layer.values) for layer in cache.layers]
        parts = self.prefix_table.view(self.length, 2 * config.num_layers, config.num_attention_heads, -1).permute(
            1, 2, 0, 3
        )
        parts = parts[:, None].to(self._base.dtype)
        return [(parts[2 * layer], parts[2 * layer + 1]) for layer in range(config.num_layers)]

    @property
    def _base(self) -> Any:
        return self.get_base_model()

    def _run(
        self,
        module: Any,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **others: Any,
    ) -> Any:
        text = input_ids if inputs_embeds is None else inputs_embeds
        assert text is not None
        rows = len(text)
        if self.has_preset:
            named = {"input_ids" if inputs_embeds is None else "inputs_embeds": text}
            seen = None if attention_mask is None else self._seen(attention_mask)
            return module(**named, attention_mask=seen, past_key_values=self._cache(rows), **others)
        if others.get("token_type_ids") is not None:
            types = others["token_type_ids"]
            others["token_type_ids"] = torch.cat((types.new_zeros(rows, self.length), types), dim=1)
        words: Any = self.word_embeddings
        embedded = words(input_ids) if inputs_embeds is None else inputs_embeds
        mask = (
            torch.ones(text.shape[:2], dtype=torch.long, device=text.device)
            if attention_mask is None
            else attention_mask
        )
        embedded = torch.cat((self._embeddings(rows).to(embedded.dtype), embedded), dim=1)
        return self._without_virtual(module(inputs_embeds=embedded, attention_mask=self._seen(mask), **others))

    def _embeddings(self, rows: int) -> Tensor:
        made: Tensor = self.get_prompt(rows)
        return made.to(self._base.dtype)

    def _seen(self, mask: Tensor) -> Tensor:
        return torch.cat((mask.new_ones(len(mask), self.length), mask), dim=1)

    def _cache(self, rows: int) -> DynamicCache:
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self.preset()):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
        return cache

    def _without_virtual(self, outputs: Any) -> Any:
        for name in BY_TOKEN:
            if getattr(outputs, name, None) is not None:
                outputs[name] = outputs[name][:, self.length :]
        logits = getattr(outputs, "logits", None)
        if logits is not None and logits.dim() == 3:
            outputs["logits"] = logits[:, self.length :]
        return outputs

"""Dialogue: the assistant's turns are learnt, everything else is context."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import IGNORED, Batch, Encoded, Example, Kind, Row, inputs, pad
from shared.modeling.kinds.turns import encode_conversation


class Chat(Kind):
    """Rows have `messages`, a list of {role, content}. Conversations are cut on the left."""

    name = "chat"
    columns = ("messages",)
    metrics = ("loss", "perplexity")

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        models: Any = AutoModelForCausalLM
        model, report = models.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        for name, found, wanted in sorted(report["mismatched_keys"]):
            raise InvalidArgument(
                f"base model {folder.name}: {name} is {tuple(found)}, its config says {tuple(wanted)}", field="base"
            )
        if missing := sorted(report["missing_keys"]):
            raise InvalidArgument(f"base model {folder.name} is no causal model: it lacks {missing[0]}", field="base")
        return cast(PreTrainedModel, model)

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: tuple[str, ...], max_length: int
    ) -> Encoded:
        examples, truncated = [], 0
        for row in rows:
            try:
                ids, targets = encode_conversation(tokenizer, row["messages"])
            except InvalidArgument as error:
                raise InvalidArgument(f"row {row['row_id']}: {error}", row_id=row["row_id"]) from None
            truncated += len(ids) > max_length
            ids, targets = ids[-max_length:], targets[-max_length:]
            weight = sum(target != IGNORED for target in targets[1:])
            examples.append(Example((row["row_id"],), ids, targets, weight))
        return Encoded(examples, truncated)

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        return {**inputs(examples, pad_id), "targets": pad([example.targets for example in examples], IGNORED)}

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        following = batch["targets"][:, 1:]
        positions = (following != IGNORED).any(0).nonzero().flatten()
        # Padding is on the right, so causal attention never sees it and needs no mask; and the vocabulary is wide,
        # so logits are made only where some row of the batch learns.
        logits = model(input_ids=batch["input_ids"], logits_to_keep=positions, use_cache=False).logits
        return functional.cross_entropy(
            logits.flatten(0, 1).float(),
            following[:, positions].flatten(),
            ignore_index=IGNORED,
            label_smoothing=smoothing,
            reduction="sum",
        )

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        total = 0.0
        for _, batch in self.batches(model, examples, pad_id, batch_size):
            total += float(self.loss(model, batch))
        loss = total / sum(example.weight for example in examples)
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

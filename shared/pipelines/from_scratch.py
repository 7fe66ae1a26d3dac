"""`base: new`: what a model made from scratch may look like. Torch-free; the making is shared.modeling.scratch."""

from shared.pipelines.kinds import NEW_BASE
from shared.pipelines.options import Options

ARCHITECTURES = {"causal": ("llama", "gpt2"), "masked": ("bert",)}
"""By objective, the one that is made unless the pipeline says otherwise first."""
LEAST_VOCABULARY = {"llama": 300, "gpt2": 300, "bert": 100}
"""A tokenizer over bytes begins with 256 tokens."""
KEYS = ("architecture", "vocabulary", "hidden_size", "layers", "heads", "positions")


def architecture_of(options: Options) -> str:
    """The chosen one, or the objective's first."""
    return options.architecture or ARCHITECTURES[options.objective][0]


def check_pretraining(base: str, options: Options, method: str) -> None:
    """Raises ValueError, its message beginning with the key, for a combination that could not work."""
    if base != NEW_BASE:
        for key in KEYS:
            if getattr(options, key) != Options.model_fields[key].default:
                raise ValueError(f"options.{key}: has an effect only with base: new; {base!r} is what it is")
        return
    architecture, fitting = architecture_of(options), ARCHITECTURES[options.objective]
    if method != "full":
        raise ValueError(f"method.name: every weight of a new model must be trained: full, not {method}")
    if architecture not in fitting:
        raise ValueError(
            f"options.architecture: {architecture} can't learn with objective {options.objective}; "
            f"use {' or '.join(fitting)}"
        )
    if options.hidden_size % options.heads:
        raise ValueError(f"options.heads: {options.heads} heads do not divide hidden_size {options.hidden_size}")
    if architecture == "llama" and options.hidden_size // options.heads % 2:
        raise ValueError(
            f"options.heads: {options.hidden_size // options.heads} values a head; a llama needs an even number"
        )
    if options.vocabulary < LEAST_VOCABULARY[architecture]:
        raise ValueError(f"options.vocabulary: a {architecture} needs at least {LEAST_VOCABULARY[architecture]} tokens")

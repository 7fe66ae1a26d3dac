"""What a causal model is asked where a pipeline says nothing else: said once, for training, judging and serving.

Torch-free.
"""

TEXT = "{text}"
DEFAULT_PROMPTS = {
    "translation": "Translate from {source} to {target}:\n{text}",
    "summarisation": "Summarise:\n{text}",
    "instruction": "### Instruction:\n{text}\n\n### Response:\n",
}


def filled(prompt: str, text: str, languages: tuple[str, str] = ("", "")) -> str:
    """The prompt with its places filled, languages being (source, target); braces in the text are left alone."""
    source, target = languages
    before, place, after = prompt.replace("{source}", source).replace("{target}", target).partition(TEXT)
    return f"{before}{text}{after}" if place else f"{before}\n{text}"


def languages_asked_for(prompt: str) -> list[str]:
    """Which of the places `source` and `target` a prompt has."""
    return [name for name in ("source", "target") if f"{{{name}}}" in prompt]

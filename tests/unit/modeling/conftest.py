from pathlib import Path

import pytest

from shared.modeling.loading import load_tokenizer
from tests.support.tiny_models import tiny_decoder, tiny_encoder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder without a head."""
    return tiny_encoder(tmp_path_factory.mktemp("bases") / "encoder")


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal model with a chat template."""
    return tiny_decoder(tmp_path_factory.mktemp("bases") / "decoder")


@pytest.fixture(scope="session")
def chat_tokenizer(decoder: Path) -> object:
    return load_tokenizer(decoder)

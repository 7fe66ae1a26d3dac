"""Other countries' identity numbers, by Presidio's pattern recognisers; only what passes their check digits counts.

Presidio is loaded when a pipeline names one of these kinds and a row may hold it: it brings spaCy along (a second and
95 MiB), and spaCy would bring torch (five more, and 320 MiB), which has no place in this process. No model is loaded.
"""

import sys
import warnings
from collections.abc import Iterator
from functools import cache, partial
from threading import Lock
from typing import Any

from services.ingestion.rules.personal.finder import Finder, Span
from shared.errors import FailedPrecondition
from shared.pipelines.cleaning import NATIONAL_KINDS

HINT = r"[0-9A-Za-z-]*[0-9][0-9A-Za-z -]{5}"
CERTAIN = 1.0
"""Presidio's score of what passes its check digits."""
HEAVY = ("torch", "transformers", "tensorflow", "cupy", "mxnet")
RECOGNISERS = {
    "au_abn": "AuAbnRecognizer",
    "au_acn": "AuAcnRecognizer",
    "au_medicare": "AuMedicareRecognizer",
    "au_tfn": "AuTfnRecognizer",
    "de_tax_id": "DeTaxIdRecognizer",
    "es_nie": "EsNieRecognizer",
    "es_nif": "EsNifRecognizer",
    "fi_identity_code": "FiPersonalIdentityCodeRecognizer",
    "in_aadhaar": "InAadhaarRecognizer",
    "it_fiscal_code": "ItFiscalCodeRecognizer",
    "kr_rrn": "KrRrnRecognizer",
    "pl_pesel": "PlPeselRecognizer",
    "se_personnummer": "SePersonnummerRecognizer",
    "th_national_id": "ThTninRecognizer",
    "tr_identity_number": "TrNationalIdRecognizer",
    "uk_nhs": "NhsRecognizer",
    "za_identity_number": "ZaIdNumberRecognizer",
}
assert set(RECOGNISERS) == set(NATIONAL_KINDS)
_loading = Lock()


def national(kind: str) -> Finder:
    return Finder(kind, HINT, partial(_find, kind=kind))


def _find(text: str, kind: str) -> Iterator[Span]:
    recogniser = _recogniser(kind)
    for found in recogniser.analyze(text, recogniser.supported_entities):
        if found.score >= CERTAIN:
            written = text[found.start : found.end]
            yield Span(found.start, found.end, "".join(filter(str.isalnum, written)).upper())


@cache
def _recogniser(kind: str) -> Any:
    with _loading:
        return getattr(_presidio(), RECOGNISERS[kind])()


def _presidio() -> Any:
    """Raises FailedPrecondition when it is not installed."""
    hidden = [name for name in HEAVY if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from presidio_analyzer import predefined_recognizers
    except ImportError as error:
        message = f"identity numbers of other countries need the package presidio-analyzer: {error}"
        raise FailedPrecondition(message) from None
    finally:
        for name in hidden:
            del sys.modules[name]
    return predefined_recognizers

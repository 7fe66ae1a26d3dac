"""From the rows of a data set to rows of a task kind, with our field names."""

from benchmarks.quality.sources import RawRows

OUT_OF_SCOPE = "oos"


def as_they_are(raw: RawRows) -> RawRows:
    """Rows that have our field names already."""
    return raw


def in_scope_judges(raw: RawRows) -> RawRows:
    """Out-of-scope rows are learnt, so that a model may say so, but only intents judge."""
    return RawRows(raw.train, [row for row in raw.test if row["label"] != OUT_OF_SCOPE])

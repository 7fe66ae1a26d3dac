"""The data card of a dataset version, and the page that compares two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from shared.client.data import Batch, DatasetDiff, DatasetVersion, Row
from shared.client.operations import ModelVersion
from shared.report import plots
from shared.report.page import write_page
from shared.storage.datasets import Manifest

MOST_BARS = 40
"""Labels in a plot that can still be read."""
MOST_NAMED = 8
"""Languages in a sentence."""
LONGEST_TEXT = 600
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Card:
    """Everything that is known about a dataset version; `manifest` is None when it can't be read any more."""

    version: DatasetVersion
    batches: Sequence[Batch]
    manifest: Manifest | None
    rows: Sequence[Row]
    """A few of each side."""
    models: Sequence[ModelVersion]
    """Versions that were trained on it."""


def write_data_card(path: Path, card: Card) -> Path:
    """One self-contained page; every text of a row is escaped."""
    statistics = card.version.statistics
    return write_page(
        path,
        "dataset.html",
        title=f"{card.version.pipeline}: dataset version {card.version.version}",
        card=card,
        facts=facts(card.version),
        sides=Markup(plots.bars({"rows": sides(card.version)}, "rows")),
        labels=label_plot(statistics.get("labels", {})),
        label_rows=label_rows(statistics.get("labels", {})),
        lengths=[
            (name, spread(found), length_plot(name, found))
            for name, found in sorted(statistics.get("lengths", {}).items())
        ],
        outliers=sorted(statistics.get("outliers", {}).items()),
        sources=counted(statistics.get("sources", {})),
        licences=counted(statistics.get("licences", {}), "not said"),
        languages=language_rows(card.version),
        language_words=language_words(card.version),
        ruled_languages=counted(statistics.get("languages", {})),
        rules=[(one["rule"], one["action"], number(one["rows"])) for one in statistics.get("rules", ())],
        reasons=counted(statistics.get("quarantine_reasons", {})),
        declared=declared(card.manifest),
        leaks=leak_words(card.version),
        samples=[sample(row) for row in card.rows],
    )


def write_difference_page(path: Path, found: DatasetDiff) -> Path:
    """What changed, with effect sizes."""
    changes = found.changes
    return write_page(
        path,
        "difference.html",
        title=f"{found.pipeline}: dataset version {found.first} and {found.second}",
        found=found,
        effects=effect_rows(changes.get("effects", {})),
        added=effect_rows(changes.get("added_rows", {})),
        splits=pair_rows(changes.get("splits", {})),
        sources=pair_rows(changes.get("sources", {})),
        labels=pair_rows(changes.get("labels", {}).get("rows", {})),
        label_plot=_label_shift(changes.get("labels", {}).get("rows", {}), found),
        lengths=length_rows(changes.get("lengths", {})),
        rose=pair_rows(changes.get("vocabulary", {}).get("rose", {})),
        fell=pair_rows(changes.get("vocabulary", {}).get("fell", {})),
    )


def facts(version: DatasetVersion) -> Pairs:
    """The version in a few numbers."""
    found, balance = version.statistics, version.statistics.get("class_balance", {})
    pairs = [
        ("rows", number(version.splits.total)),
        ("train, validation, test", " · ".join(number(count) for count in sides(version).values())),
        ("rows that the version before it lacked", number(version.new_rows)),
        ("batches", number(found.get("batches", len(version.batches)))),
        ("duplicates left out", number(found.get("duplicates", 0))),
        ("rows with a near copy", number(found.get("near_duplicates", 0))),
        ("inputs with more than one label", number(found.get("conflicts", 0))),
        ("rows in quarantine", number(found.get("quarantined", 0))),
    ]
    if balance:
        words = f"{balance['effective']:.2f} of {number(balance['labels'])}; largest to smallest {balance['ratio']:.1f}"
        pairs.append(("effective classes", words))
    pairs += [("digest", version.digest), ("Merkle root", version.merkle_root or "none: sealed before there were any")]
    return pairs


def sides(version: DatasetVersion) -> dict[str, float]:
    return {"train": version.splits.train, "validation": version.splits.validation, "test": version.splits.test}


def label_rows(labels: Mapping[str, Mapping[str, float]]) -> list[tuple[str, list[str]]]:
    """Label and its rows by side, the commonest first."""
    names = {name for of_side in labels.values() for name in of_side}
    total = {name: sum(of_side.get(name, 0) for of_side in labels.values()) for name in names}
    ordered = sorted(names, key=lambda name: (-total[name], name))
    return [(name, [number(labels.get(side, {}).get(name, 0)) for side in _SIDES]) for name in ordered]


def label_plot(labels: Mapping[str, Mapping[str, float]]) -> Markup | None:
    """Shares of labels by side; None for a kind without labels, and where there are too many to draw."""
    names = sorted({name for of_side in labels.values() for name in of_side})
    if not 0 < len(names) <= MOST_BARS:
        return None
    shares: dict[str, dict[str, float]] = {name: {} for name in names}
    for side in _SIDES:
        of_side = labels.get(side, {})
        rows = sum(of_side.values())
        for name in names:
            shares[name][side] = of_side.get(name, 0) / rows if rows else 0.0
    return Markup(plots.bars(shares, "share of a side"))


def spread(found: Mapping[str, Any]) -> Pairs:
    return [(name, number(found[name])) for name in ("mean", "p50", "p90", "p99", "max") if name in found]


def length_plot(measure: str, found: Mapping[str, Any]) -> Markup | None:
    """Rows by length; None for versions of old."""
    points = [(edge, rows) for edge, rows in found.get("histogram", ())]
    return Markup(plots.lines({"rows": points}, measure, "rows")) if points else None


def leak_words(version: DatasetVersion) -> str:
    """What the check before sealing showed."""
    check = version.statistics.get("leak_check", {})
    if not check:
        return "The version was sealed before there was a leak check."
    limit = check.get("threshold")
    near = f" and no two with a similarity of {limit:g} or more (chance to have missed a pair: " if limit else ""
    near = f"{near}{check.get('missed_probability', 0):.1e})" if near else ""
    return (
        f"{number(check.get('pairs', 0))} pairs: of {number(check.get('rows', 0))} rows, {number(check.get('new_rows', 0))} "
        f"of them new, no two on different sides are equal{near}."
    )


def language_rows(version: DatasetVersion) -> list[tuple[str, str, str]]:
    """Language, rows of the sample and their share, the commonest first."""
    languages, rows = _languages(version)
    return [(name, number(count), f"{count / rows:.1%}") for name, count in languages]


def language_words(version: DatasetVersion) -> str:
    """The same in a sentence, and what it is worth."""
    languages, rows = _languages(version)
    if not rows:
        return "not looked at"
    words = ", ".join(f"{name} {count / rows:.1%}" for name, count in languages[:MOST_NAMED])
    of = version.statistics["language_sample"]["of"]
    drawn = "all rows" if rows == of else f"{number(rows)} rows, drawn evenly from {number(of)} ({rows / of:.2%})"
    return f"{words}{', …' if len(languages) > MOST_NAMED else ''}; of {drawn}"


def _languages(version: DatasetVersion) -> tuple[list[tuple[str, float]], float]:
    """Rows by language, the commonest first, and how many rows were looked at."""
    found = version.statistics.get("language_sample", {})
    ordered = sorted(found.get("languages", {}).items(), key=lambda item: (-item[1], item[0]))
    return ordered, found.get("rows", 0)


def declared(manifest: Manifest | None) -> Pairs:
    """The rules of the pipeline file that were in force, as dotted keys."""
    return [] if manifest is None else sorted(_flat("", manifest.rules))


def sample(row: Row) -> tuple[str, Pairs]:
    texts = [(name, _cut(value if isinstance(value, str) else str(value))) for name, value in row.fields.items()]
    return f"{row.split} · {row.id[:12]}", texts


def counted(counts: Mapping[str, float], nameless: str = "none") -> Pairs:
    """Largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(name or nameless, number(count)) for name, count in ordered]


def effect_rows(effects: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, str, str, str]]:
    """What it is about, the effect size's name, its value and that in words."""
    return [
        (about, str(one["name"]), f"{one['value']:.4f}", str(one.get("size", "")))
        for about, found in sorted(effects.items())
        for one in found
    ]


def pair_rows(pairs: Mapping[str, Sequence[float]]) -> list[tuple[str, str, str, str]]:
    """Name, before, after, and the difference."""
    return [(name, number(old), number(new), _signed(new - old)) for name, (old, new) in pairs.items()]


def length_rows(lengths: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, str, str, str]]:
    found = []
    for measure, (old, new) in sorted(lengths.items()):
        for name in ("mean", "p50", "p90", "p99", "max"):
            found.append((measure, name, number(old.get(name)), number(new.get(name))))
    return found


def number(value: float | None) -> str:
    """Whole numbers without a point."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


_SIDES = ("train", "validation", "test")


def _label_shift(labels: Mapping[str, Sequence[float]], found: DatasetDiff) -> Markup | None:
    if not 0 < len(labels) <= MOST_BARS:
        return None
    totals = [sum(pair[place] for pair in labels.values()) or 1 for place in (0, 1)]
    names = (f"version {found.first}", f"version {found.second}")
    shares = {
        label: {name: pair[place] / totals[place] for place, name in enumerate(names)} for label, pair in labels.items()
    }
    return Markup(plots.bars(shares, "share of labels"))


def _signed(value: float) -> str:
    return f"{value:+,.0f}" if float(value).is_integer() else f"{value:+,.2f}"


def _flat(head: str, values: Mapping[str, Any]) -> Pairs:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        key = f"{head}{name}"
        if isinstance(value, Mapping):
            found += _flat(f"{key}.", value)
        elif value is not None and value != [] and value != "":
            found.append((key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return found


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"

"""Filling a template and writing the page."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

TEMPLATES = "shared.report"


def write_page(path: Path, template: str, **content: object) -> Path:
    """Writes one self-contained HTML file. All text is escaped; plots are passed as `Markup`."""
    environment = Environment(
        loader=PackageLoader(TEMPLATES), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.get_template(template).render(**content), encoding="utf-8")
    return path

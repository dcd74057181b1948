"""A report as one HTML file: pictures inside, light and dark, no network."""

import base64
import datetime
import html

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1b1b1b; --soft: #5c5c5c; --line: #ddd; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181b; --ink: #e8e6e3; --soft: #a9a7a3; --line: #3a3d42; }
  .picture img { filter: brightness(.9); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { margin: .4rem 0; max-width: 45rem; }
.verdict { border-left: 4px solid #0072b2; padding-left: .8rem; }
.soft { color: var(--soft); }
nav { font-size: .9rem; }
nav a { margin-right: .9rem; white-space: nowrap; }
a { color: inherit; }
.picture { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
.picture img { display: block; height: auto; max-width: 100%; }
@media (max-width: 700px) { .picture img { max-width: none; } }
.tables { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
"""


def page(record: dict, verdict: list[str], looked_at: str, sections: list[tuple]) -> str:
    """The page.

    Args:
        record: dict as `runs.read_record` returns it; empty where nothing is known.
        verdict: list of str, what is to be read first.
        looked_at: str, which images the pictures are of.
        sections: list of (`report_pictures.Section`, paragraphs, PNG bytes or None, width in CSS
            pixels).

    Returns:
        str, HTML.
    """
    settings, result = record["settings"], record["result"] or {}
    title = f"{settings.get('model', 'A model')} on {settings.get('dataset', 'images')}"
    links = "".join(f'<a href="#{s.name}">{html.escape(s.title)}</a> ' for s, *_ in sections)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="soft">Pictures of {html.escape(looked_at)}. '
        f"{datetime.date.today():%Y-%m-%d}.</p>",
        *(f'<p class="verdict">{html.escape(text)}</p>' for text in [*verdict, *_summary(result)]),
        f"<nav>{links}</nav>",
        *(_section(*section) for section in sections),
        _facts("Machine and measurements", _measured(record)),
        _facts("Settings", settings),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _summary(result):
    """Sentences from the run's result."""
    sentences = []
    if "epoch" in result:
        speed = result.get("images_per_second")
        at = f" at {speed:.0f} images/s" if speed else ""
        device = f" on {result['device']}" if "device" in result else ""
        epochs = "1 epoch" if result["epoch"] == 1 else f"{result['epoch']} epochs"
        sentences.append(f"Trained for {epochs}, {result['step']:,} steps{at}{device}.")
    probe = result.get("linear_probe")
    if probe:
        sentences.append(
            f"A linear classifier on φ's frozen features: {probe['top1']:.1%} of "
            f"{probe['test_images']:,} held-out images of {probe['classes']} classes; with an "
            f"untrained φ {probe['random_backbone_top1']:.1%}."
        )
    return sentences


def _measured(record):
    """Name -> value: the result without what it nests, and the data."""
    result, data = record["result"] or {}, record["data"]
    facts = {name: value for name, value in result.items() if not isinstance(value, dict)}
    facts.update(result.get("versions", {}))
    facts.update({name: value for name, value in data.items() if name != "skipped"})
    return facts


def _section(section, paragraphs, png, width):
    text = "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs)
    heading = f'<h2 id="{section.name}">{html.escape(section.title)}</h2>\n{text}'
    if png is None:
        return heading
    encoded = base64.b64encode(png).decode()
    return (
        f'{heading}\n<div class="picture"><img width="{width}" alt="{html.escape(section.title)}" '
        f'src="data:image/png;base64,{encoded}"></div>'
    )


def _facts(title, facts):
    cells = {name.replace("_", " "): _shown(value) for name, value in facts.items()}
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in cells.items()
    )
    if not rows:
        return ""
    return f'<h2>{title}</h2>\n<div class="tables"><table>{rows}</table></div>'


def _shown(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return "default" if value is None else str(value)

"""The look of the sandbox's own pages: the inbox, the page to pay on. Nothing is loaded from elsewhere."""

from html import escape

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
header { display: flex; gap: 1rem; align-items: baseline; border-bottom: 1px solid var(--line); margin-bottom: 1.5rem; }
header b { flex: 1; } a { color: inherit; } h1 { font-size: 1.4rem; }
table { width: 100%; border-collapse: collapse; } td, th { text-align: left; padding: .5rem .5rem .5rem 0;
border-bottom: 1px solid var(--line); vertical-align: top; } .right { text-align: right; white-space: nowrap; }
button, .button { font: inherit; padding: .7rem 1.2rem; border-radius: .5rem; border: 1px solid var(--line);
background: none; color: inherit; cursor: pointer; text-decoration: none; display: inline-block; }
button.main { background: #635bff; color: #fff; border-color: #635bff; }
.row { display: flex; gap: .6rem; flex-wrap: wrap; margin-top: 1.2rem; }
input { font: inherit; padding: .6rem; width: 100%; box-sizing: border-box; border-radius: .5rem;
border: 1px solid var(--line); }
.total { font-size: 2rem; font-weight: 650; } small { opacity: .7; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
iframe { width: 100%; height: 28rem; border: 1px solid var(--line); background: #fff; border-radius: .5rem; }
"""


def page(title: str, body: str) -> str:
    """A whole page; `body` is HTML, in which the caller has escaped what people wrote."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)} · sandbox</title><style>{STYLE}</style>"
        "<header><b>Clofy Cloud sandbox</b><a href=/inbox>Inbox</a><a href=/payments>Payments</a>"
        f"<a href=/control>Knobs</a></header><h1>{escape(title)}</h1>{body}</html>"
    )

"""The sheet with the household's key: what the household prints and puts away. Data in, HTML out.

In two languages, since whoever needs it in ten years may not be the one who printed it. Everything is in the page.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from html import escape
from string import Template

import segno

from . import paperkey

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #f4f4f1; margin: 0; }
main { max-width: 46rem; margin: 2rem auto; padding: 2rem 2.5rem; background: #fff; border-radius: 8px; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.05rem; margin: 1.4rem 0 .3rem; }
p { margin: .4rem 0; } .quiet { color: #595959; } .told { border-left: 4px solid #8a5a00; padding-left: .8rem; }
label { display: block; margin: .8rem 0 .2rem; }
input { font: inherit; padding: .5rem; width: 100%; box-sizing: border-box; border: 1px solid #767676;
  border-radius: 4px; }
button { font: inherit; margin-top: 1rem; padding: .55rem 1.2rem; border: 0; border-radius: 4px; background: #14532d;
  color: #fff; cursor: pointer; }
.key { display: flex; gap: 2rem; align-items: center; margin: 1rem 0; padding: 1rem; border: 2px solid #1b1b1b; }
.key svg { width: 11rem; height: 11rem; flex: none; }
.groups { font: 600 1.35rem/1.7 ui-monospace, monospace; list-style-position: inside; margin: 0; padding: 0; }
.languages { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 1rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { main { padding: 1rem; margin: 0; } .languages { grid-template-columns: 1fr; }
  .key { flex-direction: column; } }
@media print { body { background: #fff; font-size: 11pt; } main { margin: 0; padding: 0; max-width: none; }
  .screen { display: none; } @page { size: A4; margin: 18mm; } }
"""

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>$title</title><style>$style</style></head>
<body><main>$body</main></body></html>
""")

_SHEET = Template("""<h1>Backup key of $domain</h1>
<p class="quiet">Sicherungsschlüssel &ndash; keep it as you keep a passport, not beside the box.</p>
<div class="key">$qr<ol class="groups">$groups</ol></div>
<div class="languages">
<section lang="en"><h2>What this is</h2>
<p>Each night the box at home sends a locked copy of your files, calendars and contacts away. Only this key opens
it for you. Nobody else has it: not who looks after the box, nor who keeps the copy.
If it is lost together with the box, nobody can help.</p>
<h2>When the box is lost</h2>
<p>1. Tell who looks after your box. You get a new one, and it is told the old one&rsquo;s name: <b>$household</b>.</p>
<p>2. At the new box, start <b>hearth-restore</b>, and type this key there, or scan the square. Give it to nobody, and
send it to nobody.</p>
<p>3. When your files are there again, print the new sheet, and tear up this one.</p>
<h2>Reading it</h2>
<p>Seven groups of five. A 0 is always the digit, a 1 too. Capitals and hyphens do not matter.</p></section>
<section lang="de"><h2>Was das ist</h2>
<p>Jede Nacht schickt die Box zu Hause eine verschlossene Kopie Ihrer Dateien, Kalender und Adressen fort. Nur dieser
Schlüssel öffnet sie Ihnen. Niemand sonst hat ihn: weder wer die Box betreut, noch wer die Kopie verwahrt. Geht er
zusammen mit der Box verloren, kann niemand helfen.</p>
<h2>Wenn die Box verloren ist</h2>
<p>1. Sagen Sie es dem, der die Box betreut. Sie bekommen eine neue, die den Namen der alten kennt:
<b>$household</b>.</p>
<p>2. An der neuen Box <b>hearth-restore</b> starten und diesen Schlüssel dort eingeben oder das Quadrat scannen.
Geben und schicken Sie ihn niemandem.</p>
<p>3. Sind die Dateien wieder da: das neue Blatt drucken, dieses zerreißen.</p>
<h2>Lesen</h2>
<p>Sieben Gruppen zu fünf Zeichen. Eine 0 ist immer die Ziffer, eine 1 auch. Groß, klein und Striche sind gleich.</p>
</section></div>
<dl><dt>Household</dt><dd>$household</dd><dt>Made on</dt><dd>$made</dd><dt>Fingerprint</dt><dd>$fingerprint</dd>
<dt>For experts</dt><dd>The key with its hyphens is the password of a restic repository.</dd></dl>
""")


@dataclass(frozen=True)
class Sheet:
    """What stands on the sheet. ``made``: the day, ISO 8601."""

    household: str
    domain: str
    made: str
    key: str


def page(title: str, body: str) -> str:
    """A whole page; ``body`` is HTML."""
    return _PAGE.substitute(title=escape(title), style=STYLE, body=body)


def sheet(told: Sheet) -> str:
    """The sheet's own part of a page."""
    return _SHEET.substitute(
        domain=escape(told.domain),
        household=escape(told.household),
        made=escape(told.made),
        fingerprint=escape(paperkey.fingerprint(told.key)),
        qr=qr(told.key),
        groups="".join(f"<li>{escape(group)}</li>" for group in told.key.split("-")),
    )


def qr(key: str) -> str:
    """The key as a QR code, inline SVG. Digits, capitals and hyphens make a small one that any phone reads."""
    return str(segno.make_qr(key, error="q").svg_inline(border=4, omitsize=True, title="The key as a QR code"))


def for_terminal(told: Sheet) -> str:
    """The sheet for a console: the key by groups, and the QR code in block characters."""
    square = io.StringIO()
    segno.make_qr(told.key, error="q").terminal(out=square, compact=True)
    groups = "\n".join(f"   {number}. {group}" for number, group in enumerate(told.key.split("-"), 1))
    return (
        f"Backup key of {told.domain} (household {told.household}, made on {told.made}).\n"
        "Write it down or print it, and keep it as you keep a passport, not beside the box.\n\n"
        f"{groups}\n\n{square.getvalue()}\n"
    )

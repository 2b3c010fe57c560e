"""The style sheet of reports: light, dark where the reader prefers that, and for print."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --panel: #f6f7f9; --ink: #1c2126; --soft: #5b6670; --line: #d9dee3;
  --accent: #0b62a8; --warn: #8a4b00; --shade: 11, 98, 168;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #a8559b; --c4: #b07a00; --c5: #3a3f9e; --c6: #6b7680; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181c; --panel: #1d2329; --ink: #e6eaee; --soft: #9aa7b2;
  --line: #36404a; --accent: #6cb6f0; --warn: #f0b060; --shade: 90, 170, 240;
  --c0: #56b4e9; --c1: #f08a4b; --c2: #3cc79c; --c3: #d98fc9; --c4: #e6b83f; --c5: #9aa0f5; --c6: #9aa7b2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 28px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 40px 0 12px; padding-bottom: 6px; border-bottom: 1px solid var(--line); }
h3, caption, figcaption.title { font-size: 15px; font-weight: 600; text-align: left; margin: 0 0 6px; padding: 0; }
p { margin: 6px 0; max-width: 80ch; }
.soft, .note, figcaption { color: var(--soft); }
.note { font-size: 13px; }
nav { margin: 14px 0 0; }
nav a { color: var(--accent); margin-right: 18px; }
ul.lines { margin: 6px 0; padding-left: 20px; overflow-wrap: anywhere; }
ul.warn { list-style: none; padding: 8px 14px; border-left: 4px solid var(--warn); background: var(--panel); }
dl.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 10px; margin: 14px 0; }
dl.facts div { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; }
dl.facts dt { color: var(--soft); font-size: 13px; }
dl.facts dd { margin: 0; font-size: 21px; font-weight: 600; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
dl.facts dd span { display: block; font-size: 13px; font-weight: 400; color: var(--soft); }
.scroll { overflow-x: auto; margin: 14px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { caption-side: top; padding-bottom: 6px; white-space: nowrap; }
th, td { padding: 5px 12px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; white-space: nowrap; }
tbody th { font-weight: 500; }
td.number, th.number { text-align: right; white-space: nowrap; }
table.matrix td { text-align: right; min-width: 58px; }
table.matrix td.same { font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 22px 28px;
  margin: 14px 0; }
figure { margin: 0; break-inside: avoid; }
svg.chart { width: 100%; max-width: 560px; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 12px; }
svg text.x, svg text.axis { text-anchor: middle; }
svg text.y { text-anchor: end; }
svg .grid { stroke: var(--line); stroke-width: .7; fill: none; }
svg .frame { stroke: var(--soft); stroke-width: 1; fill: none; }
svg .line, svg .steps { fill: none; stroke-width: 1.9; stroke-linejoin: round; }
svg .faint { fill: none; stroke-width: 1; opacity: .35; }
svg .dashed { fill: none; stroke-width: 1.3; stroke-dasharray: 5 4; }
svg .dot { stroke: none; opacity: .75; }
svg .bar { stroke: none; opacity: .8; }
.key { list-style: none; margin: 4px 0 10px; padding: 0; font-size: 13px; display: flex; flex-wrap: wrap;
  gap: 2px 16px; }
.key i { display: inline-block; width: 14px; height: 10px; margin-right: 6px; border-radius: 2px;
  background: currentColor; box-shadow: inset 0 0 0 1px rgba(128, 128, 128, .55); }
.key i.dashed { height: 0; border-top: 2px dashed currentColor; background: none; vertical-align: middle; }
.key li { overflow-wrap: anywhere; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 24px 28px; }
.cases.wide { grid-template-columns: 1fr; gap: 18px; }
.case { break-inside: avoid; min-width: 0; }
.case h4 { margin: 0; font-size: 14px; overflow-wrap: anywhere; }
.case p { margin: 0 0 6px; font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: 8px; }
.pictures figure { flex: 1 1 100px; }
.pictures figure.crop { flex: 0 0 auto; max-width: 104px; }
.pictures img { display: block; width: 100%; height: auto; border: 1px solid var(--line); }
.pictures img.flat { image-rendering: pixelated; }
.pictures figcaption { font-size: 12px; }
footer { margin-top: 48px; padding-bottom: 32px; font-size: 13px; color: var(--soft); }
@media print { :root { color-scheme: light; --ground: #fff; --panel: #f6f7f9; --ink: #000; --soft: #444; --line: #bbb;
  --accent: #000; --warn: #8a4b00; --shade: 11, 98, 168;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #a8559b; --c4: #b07a00;
  --c5: #3a3f9e; --c6: #6b7680; }
  body { font-size: 11pt; } nav { display: none; } .charts, .cases { grid-template-columns: 1fr 1fr; }
  .cases.wide { grid-template-columns: 1fr; } main, header, footer { max-width: none; padding: 0; }
  h2 { break-after: avoid; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
""" + "".join(f".c{n} {{ stroke: var(--c{n}); color: var(--c{n}); fill: var(--c{n}); }}\n" for n in range(7))
"""Text of the style element. Rules of `svg` win where they say `fill: none`."""

"""The look of the server's own pages, and what browsers may do with them."""

import base64
import hashlib

CSS = """
:root { color-scheme: light; --ink: #1d2730; --soft: #5b6873; --line: #d5dce2; --mark: #0b6b8a; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem; color: var(--ink); background: #fff;
  font: 15px/1.55 "Source Han Sans SC", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", system-ui, sans-serif; }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; flex-wrap: wrap; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .25rem; padding-top: .75rem; border-top: 1px solid var(--line); }
a { color: var(--mark); }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
nav a { margin: 0 .15rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre { font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; font-size: .87em; }
pre { background: #f4f7f9; border: 1px solid var(--line); padding: .6rem .8rem; overflow-x: auto; }
summary { cursor: pointer; color: var(--mark); }
.method { display: inline-block; min-width: 3.6em; font-weight: 700; color: var(--mark); }
.soft { color: var(--soft); }
.fault { color: #a3261b; }
"""
_DIGEST = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Its own style sheet, and nothing else."""

"""The server's own pages, as Jinja2 templates; everything that they show is escaped."""

BASE = """<!doctype html>
<html lang="{{ lang }}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title><style>{{ css | safe }}</style></head><body>
<header><h1>{{ title }}</h1><nav>
<a href="/?lang={{ lang }}">{{ say.home }}</a> · <a href="/docs?lang={{ lang }}">{{ say.docs }}</a> ·
<a href="?lang={{ other }}" hreflang="{{ other }}">{{ say.other }}</a></nav></header>
{% block main %}{% endblock %}</body></html>
"""

HOME = """{% extends "base" %}{% block main %}
<h2>{{ say.packages }}</h2>
{% if packages %}<table><thead><tr><th>{{ say.period }}</th><th>{{ say.revision }}</th><th>{{ say.built }}</th>
<th>{{ say.key }}</th><th>{{ say.report }}</th><th>{{ say.package }}</th></tr></thead><tbody>
{% for one in packages %}<tr><td>{{ one.start[:16] | replace("T", " ") }} – {{ one.end[:16] | replace("T", " ") }}</td>
<td class="number">{{ one.revision }}</td><td>{{ one.built_at[:16] | replace("T", " ") }} UTC</td>
<td>{% if one.key_id %}<code title="{{ one.key_id }}">{{ one.key_id[:16] }}…</code>
{% else %}{{ say.unsigned }}{% endif %}</td><td><a href="{{ one.url }}/report?lang=zh" hreflang="zh">中文</a> ·
<a href="{{ one.url }}/report?lang=en" hreflang="en">English</a></td>
<td><a href="{{ one.url }}/package">{{ one.id }}.zip</a>
<span class="soft">{{ "%.1f" | format(one.bytes / 1048576) }} MiB</span></td></tr>
{% endfor %}</tbody></table>{% else %}<p>{{ say.none }}</p>{% endif %}
{% for one in damaged %}<p class="fault">{{ say.damaged }}: {{ one.file }} – {{ one.error }}</p>{% endfor %}
<h2>{{ say.how }}</h2><pre>{{ order }}</pre>
{% endblock %}"""

DOCS = """{% extends "base" %}{% block main %}
<p>{{ say.about }} <a href="/openapi.json">openapi.json</a></p>
{% for tag in tags %}<h2>{{ tag.title }}</h2>
{% for one in tag.routes %}<h3 id="{{ one.id }}"><span class="method">{{ one.method }}</span>
<code>{{ one.path }}</code> <span class="soft">{{ one.title }}</span></h3>
{% if one.about and lang == "en" %}<p>{{ one.about }}</p>{% endif %}
{% for part in (one.params, one.fields) %}{% if part %}<table><thead><tr>
<th>{{ say.param if loop.first else say.field }}</th>
<th>{{ say.type }}</th><th>{{ say.meaning }}</th></tr></thead><tbody>
{% for row in part %}<tr><td><code>{{ row.name }}</code>
{% if row.required %}<span class="soft">{{ say.required }}</span>{% endif %}</td>
<td>{{ row.type }}</td><td>{{ row.about }}</td></tr>{% endfor %}</tbody></table>{% endif %}{% endfor %}
{% if one.example %}<details><summary>{{ say.example }} ({{ one.status }})</summary>
<pre>{{ one.example }}</pre></details>
{% endif %}
<details><summary>{{ say.faults }}</summary><table><tbody>{% for row in one.faults %}<tr><td>{{ row.status }}</td>
<td><code>{{ row.code }}</code></td><td>{{ row.message }}</td><td>{{ row.next }}</td></tr>
{% endfor %}</tbody></table></details>
{% endfor %}{% endfor %}{% endblock %}"""

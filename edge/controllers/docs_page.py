"""The documentation page: one HTML page, one script, one style sheet, nothing from elsewhere."""

from typing import Final

PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API</title>
<link rel="stylesheet" href="/docs/page.css">
<script src="/docs/page.js" defer></script>
</head>
<body>
<header><h1 id="title">API</h1><p id="summary"></p>
<p><a href="/openapi.json">openapi.json</a></p>
<label>Token <input id="token" type="password" autocomplete="off" size="40"
 placeholder="skerry token --person ada"></label></header>
<main id="operations"><noscript>This page needs JavaScript.</noscript></main>
</body>
</html>
"""

STYLE: Final = b"""
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; }
details { border: 1px solid #8886; border-radius: .4rem; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; font-family: ui-monospace, monospace; }
summary b { display: inline-block; min-width: 4.5rem; }
summary span { font-family: system-ui, sans-serif; opacity: .75; margin-left: 1rem; }
pre { background: #8882; border-radius: .4rem; overflow: auto; padding: .6rem; }
table { border-collapse: collapse; }
th, td { padding: .1rem .8rem .1rem 0; text-align: left; vertical-align: top; }
input, textarea { font: inherit; }
textarea { box-sizing: border-box; font-family: ui-monospace, monospace; width: 100%; }
"""

SCRIPT: Final = b"""'use strict';
const make = (tag, text, ...children) => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};

const resolve = (spec, schema, depth = 0) => {
  if (!schema || typeof schema !== 'object' || depth > 6) return schema;
  if (Array.isArray(schema)) return schema.map((item) => resolve(spec, item, depth + 1));
  if (schema.$ref) {
    const name = schema.$ref.split('/').pop();
    return resolve(spec, spec.components.schemas[name], depth + 1);
  }
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, resolve(spec, value, depth + 1)]));
};

const showSchemas = (spec, title, content) => {
  const [media, body] = Object.entries(content || {}).pop() || [];
  if (!body) return [];
  const text = JSON.stringify(resolve(spec, body.schema), null, 2);
  return [make('h4', `${title} (${media})`), make('pre', text)];
};

const parameterTable = (parameters, inputs) => {
  const table = make('table');
  for (const parameter of parameters) {
    const input = make('input');
    input.setAttribute('aria-label', parameter.name);
    inputs.push([parameter, input]);
    table.append(make('tr', '', make('th', parameter.name), make('td', parameter.in),
      make('td', '', input), make('td', parameter.description || '')));
  }
  return table;
};

const send = async (method, path, inputs, area, output) => {
  const query = new URLSearchParams();
  const headers = {};
  const token = document.getElementById('token').value.trim();
  if (token) headers.authorization = `Bearer ${token}`;
  let address = path;
  for (const [parameter, input] of inputs) {
    if (parameter.in === 'path') {
      address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    } else if (input.value && parameter.in === 'query') query.set(parameter.name, input.value);
    else if (input.value) headers[parameter.name] = input.value;
  }
  if (area) headers['content-type'] = 'application/json';
  if (query.size) address += `?${query}`;
  const body = area ? area.value : undefined;
  const answer = await fetch(address, { method: method.toUpperCase(), headers, body });
  const text = await answer.text();
  let shown = text;
  try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON */ }
  output.textContent = `${answer.status} ${answer.statusText}\\n${shown}`;
};

const showOperation = (spec, path, method, item) => {
  const operation = item[method];
  const line = make('summary', '', make('b', method.toUpperCase()), path,
    make('span', operation.summary || ''));
  const box = make('details', '', line);
  const inputs = [];
  const parameters = [...(item.parameters || []), ...(operation.parameters || [])];
  if (parameters.length) box.append(make('h4', 'Parameters'), parameterTable(parameters, inputs));
  let area = null;
  if (operation.requestBody) {
    box.append(...showSchemas(spec, 'Request', operation.requestBody.content));
    area = make('textarea', '{}');
    area.rows = 6;
    area.setAttribute('aria-label', 'request body');
    box.append(area);
  }
  const output = make('pre');
  const button = make('button', 'Send');
  button.addEventListener('click', () => {
    send(method, path, inputs, area, output).catch((error) => { output.textContent = error; });
  });
  box.append(button, output);
  for (const [status, answer] of Object.entries(operation.responses)) {
    if (status !== 'default') box.append(...showSchemas(spec, `Answer ${status}`, answer.content));
  }
  return box;
};

const start = async () => {
  const spec = await (await fetch('/openapi.json')).json();
  document.title = spec.info.title;
  document.getElementById('title').textContent = spec.info.title;
  document.getElementById('summary').textContent = spec.info.summary;
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of ['get', 'post', 'put', 'patch', 'delete']) {
      if (!item[method]) continue;
      const tag = item[method].tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(showOperation(spec, path, method, item));
    }
  }
  for (const [tag, boxes] of groups) {
    document.getElementById('operations').append(make('h2', tag), ...boxes);
  }
};

start();
"""

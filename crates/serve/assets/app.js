// The page: what is chosen, and what keys do.
import { drawList, filtered, loadCases } from './list.js';
import { Panes } from './look.js';
import { startDrop } from './drop.js';

const $ = (id) => document.getElementById(id);

export const state = {
  mode: 'view',
  sources: [], // { id, name, cases: Map by name }
  cases: [], // names in order, each { name, of: [case or undefined for each source] }
  chosen: null,
  variant: 0, // index of a source, or -1 for all side by side
  labels: true,
  heat: false,
  opacity: 0.5,
  view: 0,
};

const panes = new Panes($('panes'));

/** Shows a sentence for a while. */
export function message(text) {
  const box = $('message');
  box.textContent = text;
  box.hidden = false;
  clearTimeout(message.timer);
  message.timer = setTimeout(() => (box.hidden = true), 8000);
}

/** The answer to a request; an error with the service's sentence. */
export async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error('the program does not answer; is it still running?');
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error || `the program answered ${answer.status}`);
  }
  return answer;
}

/** Shows other folders of results: those of `view`, or of one upload. */
export async function openSources(sources) {
  state.sources = sources;
  state.chosen = null;
  await loadCases(state);
  $('filters').hidden = state.mode === 'serve' && state.cases.length < 2;
  refresh();
  const first = filtered(state)[0];
  if (state.mode === 'serve' && first) choose(first.name);
}

/** Closes what is shown. */
export function closeSources() {
  state.sources = [];
  state.cases = [];
  leave();
  refresh();
}

function refresh() {
  drawList($('list'), state, choose);
  const all = state.cases.length;
  const said = state.cases.filter((c) => c.of[0]?.verdict).length;
  $('counts').textContent = all ? `${all} case${all === 1 ? '' : 's'}${state.mode === 'view' ? `, ${said} reviewed` : ''}` : '';
  $('look').hidden = !state.chosen;
  $('empty').hidden = !!state.chosen;
  $('empty').textContent = state.mode === 'serve' && !all ? 'Drop a file to see its result.' : 'Choose a case.';
}

const shown = () => state.cases.find((c) => c.name === state.chosen);
/** The case that a verdict is about. */
const active = () => shown()?.of[Math.max(0, state.variant)];
const activeSource = () => state.sources[Math.max(0, state.variant)];

function choose(name) {
  state.chosen = name;
  document.body.classList.add('looking');
  refresh();
  draw();
  document.querySelector('#list [aria-current=true]')?.scrollIntoView({ block: 'nearest' });
}

function leave() {
  state.chosen = null;
  document.body.classList.remove('looking');
  panes.close();
  refresh();
}

function draw() {
  const item = shown();
  if (!item) return;
  $('name').textContent = item.name;
  $('name').title = item.name;
  const wanted = state.variant < 0 ? state.sources.map((_, i) => i) : [state.variant];
  const list = wanted.map((i) => ({ source: state.sources[i], made: item.of[i], tag: state.sources.length > 1 ? letter(i) : '' }));
  const kind = item.of.find((c) => c?.kind)?.kind;
  $('previous').hidden = $('next').hidden = state.cases.length < 2;
  drawModes(kind);
  $('labels-row').hidden = $('opacity-row').hidden = !list.some((p) => p.made && (p.made.mask || p.made.kind === 'slide'));
  $('heat-row').hidden = kind === 'volume' || !list.some((p) => p.made?.heat);
  panes.show(list, state).catch((e) => message(e.message));
  drawVariants();
  drawFacts(item);
  drawReview();
}

const letter = (i) => `${String.fromCharCode(65 + i)}: ${state.sources[i].name}`;

function group(box, names, pressed, press) {
  box.replaceChildren(
    ...names.map((name, i) => {
      const b = document.createElement('button');
      b.type = 'button';
      b.textContent = name;
      b.setAttribute('aria-pressed', String(i === pressed));
      b.addEventListener('click', () => press(i));
      return b;
    }),
  );
}

const MODES = ['Planes', 'Axial', 'Coronal', 'Sagittal', '3D'];

function drawModes(kind) {
  group($('modes'), kind === 'volume' ? MODES : [], state.view, (i) => {
    state.view = i;
    panes.update(state);
    drawModes(kind);
  });
}

function drawVariants() {
  const n = state.sources.length;
  const names = n > 1 ? [...state.sources.map((_, i) => String.fromCharCode(65 + i)), 'Side by side'] : [];
  group($('variants'), names, state.variant < 0 ? n : state.variant, (i) => {
    state.variant = i === n ? -1 : i;
    draw();
  });
}

const number = (v, digits) => (v == null ? '' : v.toFixed(digits));

/** The measure of a label with its unit. */
function measure(l) {
  if (l.ml != null) return [l.ml, 'ml', 1];
  if (l.mm2 != null) return [l.mm2, 'mm²', 2];
  return [100 * l.share, '%', 1];
}

function row(cells, tag = 'td') {
  const tr = document.createElement('tr');
  for (const cell of cells) {
    const td = document.createElement(tag);
    if (cell instanceof Node) td.append(cell);
    else td.textContent = cell;
    if (tag === 'td' && typeof cell === 'string' && /^[+−-]?[\d.]+/.test(cell)) td.className = 'number';
    tr.append(td);
  }
  return tr;
}

function labelCell(l) {
  const span = document.createElement('span');
  if (l.colour) {
    const patch = document.createElement('span');
    patch.className = 'patch';
    patch.style.background = `rgb(${l.colour.join(',')})`;
    span.append(patch);
  }
  span.append(l.name);
  return span;
}

function drawFacts(item) {
  const box = $('facts');
  box.replaceChildren();
  const made = item.of.filter(Boolean);
  const reasons = made.filter((c) => c.reason != null).map((c) => `${c.status}: ${c.reason}`);
  for (const text of new Set(reasons)) box.append(Object.assign(document.createElement('p'), { className: 'reason', textContent: text }));
  const measured = made.find((c) => c.labels?.length);
  const scored = made.find((c) => c.scores?.length);
  const two = item.of.length > 1;
  const table = document.createElement('table');
  if (two && (measured || scored)) table.append(row(['', ...state.sources.map((_, i) => String.fromCharCode(65 + i)), 'difference'], 'th'));
  const difference = (values, digits) => {
    const [a, b] = values;
    return two && a != null && b != null ? [`${b - a < 0 ? '−' : '+'}${Math.abs(b - a).toFixed(digits)}`] : two ? [''] : [];
  };
  for (const l of measured?.labels ?? []) {
    const all = item.of.map((c) => c?.labels?.find((x) => x.name === l.name));
    const [, unit, digits] = measure(l);
    const values = all.map((x) => (x ? measure(x)[0] : null));
    table.append(row([labelCell(l), ...values.map((v) => (v == null ? '–' : `${number(v, digits)} ${unit}`)), ...difference(values, digits)]));
  }
  if (!measured) {
    for (const [name] of scored?.scores ?? []) {
      const values = item.of.map((c) => c?.scores?.find((s) => s[0] === name)?.[1]);
      table.append(row([name, ...values.map((v) => (v == null ? '–' : number(v, 3))), ...difference(values, 3)]));
    }
  }
  if (table.childNodes.length) box.append(table);
  const c = active();
  if (c?.model) {
    const p = document.createElement('p');
    p.className = 'quiet';
    const parts = [c.task === 'classification' ? c.summary : '', c.model, c.precision, c.seconds != null ? `${c.seconds.toFixed(2)} s` : ''];
    p.textContent = parts.filter(Boolean).join(' · ');
    box.append(p);
  }
  const warnings = [...new Set(made.flatMap((c) => c.warnings ?? []))];
  if (warnings.length) {
    const ul = document.createElement('ul');
    ul.append(...warnings.map((w) => Object.assign(document.createElement('li'), { textContent: w })));
    box.append(ul);
  }
}

function drawReview() {
  const c = active();
  $('review').hidden = state.mode !== 'view' || !c;
  if (!c) return;
  $('pass').setAttribute('aria-pressed', String(c.verdict === 'pass'));
  $('fail').setAttribute('aria-pressed', String(c.verdict === 'fail'));
  $('comment').value = c.comment ?? '';
  $('saved').textContent = state.sources.length > 1 ? `of ${letter(Math.max(0, state.variant))[0]}` : '';
}

async function say(change) {
  const [c, source] = [active(), activeSource()];
  if (!c || state.mode !== 'view') return;
  const said = { verdict: c.verdict ?? '', comment: c.comment ?? '', ...change };
  try {
    await ask(`r/${source.id}/review`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ n: c.n, case: c.name, ...said }),
    });
    Object.assign(c, said);
    refresh();
    drawReview();
    $('saved').textContent = 'saved';
  } catch (e) {
    message(e.message);
  }
}

/** A verdict; the same again takes it back. */
const verdict = (v) => say({ verdict: active()?.verdict === v ? '' : v });

function step(by) {
  const list = filtered(state);
  if (!list.length) return;
  const at = list.findIndex((c) => c.name === state.chosen);
  const next = at < 0 ? 0 : Math.min(list.length - 1, Math.max(0, at + by));
  if (list[next].name !== state.chosen) choose(list[next].name);
}

function toggle(id, key) {
  $(id).checked = state[key] = !state[key];
  panes.update(state);
}

const KEYS = {
  j: () => step(1),
  n: () => step(1),
  k: () => step(-1),
  p: () => verdict('pass'),
  f: () => verdict('fail'),
  c: () => $('comment').focus(),
  l: () => toggle('labels', 'labels'),
  h: () => toggle('heat', 'heat'),
  v: () => $('modes').children[(state.view + 1) % MODES.length]?.click(),
  x: () => {
    const all = $('variants').children;
    const at = state.variant < 0 ? state.sources.length : state.variant;
    if (all.length) all[(at + 1) % all.length].click();
  },
  '?': () => $('help').showModal(),
  Escape: () => leave(),
};

document.addEventListener(
  'keydown',
  (e) => {
    if (e.ctrlKey || e.altKey || e.metaKey || $('help').open) return;
    const typing = e.target.matches('input[type=text], input[type=search], select, textarea');
    if (typing) {
      if (e.key === 'Escape') e.target.blur();
      return;
    }
    const act = KEYS[e.key];
    if (act && (state.chosen || 'jkn?'.includes(e.key))) {
      e.preventDefault();
      e.stopPropagation();
      act();
    }
  },
  true,
);

$('back').addEventListener('click', leave);
$('next').addEventListener('click', () => step(1));
$('previous').addEventListener('click', () => step(-1));
$('help-open').addEventListener('click', () => $('help').showModal());
$('pass').addEventListener('click', () => verdict('pass'));
$('fail').addEventListener('click', () => verdict('fail'));
$('review').addEventListener('submit', (e) => {
  e.preventDefault();
  $('comment').blur();
});
$('comment').addEventListener('change', () => say({ comment: $('comment').value }));
$('labels').addEventListener('change', () => {
  state.labels = $('labels').checked;
  panes.update(state);
});
$('heat').addEventListener('change', () => {
  state.heat = $('heat').checked;
  panes.update(state);
});
$('opacity').addEventListener('input', () => {
  state.opacity = Number($('opacity').value);
  panes.update(state);
});
$('find').addEventListener('input', refresh);
$('filter').addEventListener('change', refresh);

async function start() {
  const config = await (await ask('config')).json();
  state.mode = config.mode;
  if (config.mode === 'view') {
    $('title').textContent = config.sources.map((s) => s.name).join(' and ');
    document.title = `${$('title').textContent} – Ampoule`;
    await openSources(config.sources);
    $('empty').hidden = false;
  } else {
    refresh();
    startDrop(config);
  }
}

start().catch((e) => message(e.message));

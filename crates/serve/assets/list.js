// The list of cases.
import { ask } from './app.js';

/** Reads the cases of all sources; those of one name belong together. */
export async function loadCases(state) {
  const lists = await Promise.all(state.sources.map(async (s) => (await ask(`r/${s.id}/cases`)).json()));
  const names = [...new Set(lists.flat().map((c) => c.name))];
  const maps = lists.map((list) => new Map(list.map((c) => [c.name, c])));
  state.cases = names.map((name) => ({ name, of: maps.map((m) => m.get(name)) }));
}

/** Cases that the filters let through. */
export function filtered(state) {
  const text = document.getElementById('find').value.trim().toLowerCase();
  const which = document.getElementById('filter').value;
  const made = (item) => item.of.filter(Boolean);
  const tests = {
    all: () => true,
    open: (item) => made(item).some((c) => !c.verdict),
    said: (item) => made(item).some((c) => c.verdict),
    warned: (item) => made(item).some((c) => c.warnings?.length),
    failed: (item) => made(item).some((c) => ['failed', 'skipped'].includes(c.status)),
  };
  return state.cases.filter((item) => item.name.toLowerCase().includes(text) && tests[which](item));
}

function element(tag, name, text) {
  const e = document.createElement(tag);
  e.className = name;
  e.textContent = text;
  return e;
}

function entry(item, state, choose) {
  const made = item.of.filter(Boolean);
  const main = made[0];
  const button = document.createElement('button');
  button.type = 'button';
  const failed = made.some((c) => ['failed', 'skipped'].includes(c.status));
  const warned = made.some((c) => c.warnings?.length);
  button.className = failed ? 'failed' : warned ? 'warned' : '';
  button.setAttribute('aria-current', String(item.name === state.chosen));
  const dot = element('span', 'dot', '');
  dot.title = failed ? 'failed' : warned ? 'with warnings' : main.status;
  button.append(dot, element('span', 'case', item.name));
  const verdict = made.find((c) => c.verdict)?.verdict;
  if (verdict) button.append(element('span', `verdict ${verdict}`, verdict));
  const warnings = new Set(made.flatMap((c) => c.warnings ?? [])).size;
  const parts = [failed ? main.reason || main.status : main.summary];
  if (warnings) parts.push(`${warnings} warning${warnings === 1 ? '' : 's'}`);
  if (item.of.some((c) => !c)) parts.push('not in all folders');
  button.append(element('span', 'what', parts.filter(Boolean).join(' · ')));
  button.addEventListener('click', () => choose(item.name));
  const li = document.createElement('li');
  li.append(button);
  return li;
}

/** Draws the list anew. */
export function drawList(box, state, choose) {
  const top = box.scrollTop;
  // One upload of one case needs no list.
  const all = state.mode === 'serve' && state.cases.length < 2 ? [] : filtered(state);
  box.replaceChildren(...all.map((item) => entry(item, state, choose)));
  box.scrollTop = top;
}

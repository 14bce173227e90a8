// Dropping files, and what becomes of them.
import { ask, closeSources, message, openSources } from './app.js';

const $ = (id) => document.getElementById(id);
const jobs = new Map(); // id or number of the upload -> { told, request }
let chosen = null;
let models = [];
let uploads = 0;

/** Makes the part of the page that takes files. */
export async function startDrop(config) {
  models = config.models;
  $('drop').hidden = false;
  $('model').replaceChildren(...models.map((m) => new Option(m.name, m.name)));
  $('model-row').hidden = models.length < 2;
  $('model').addEventListener('change', describe);
  describe();
  const minutes = Math.round(config.stay / 60);
  $('stay').textContent = `Files stay on this machine and are removed after ${minutes} minutes.`;
  const zone = $('zone');
  zone.addEventListener('click', () => $('files').click());
  zone.addEventListener('keydown', (e) => {
    if (e.key === 'Enter' || e.key === ' ') {
      e.preventDefault();
      $('files').click();
    }
  });
  $('files').addEventListener('click', (e) => e.stopPropagation());
  $('files').addEventListener('change', () => {
    send([...$('files').files]);
    $('files').value = '';
  });
  // Anywhere on the page, so that a near miss does not make the browser open the file.
  document.addEventListener('dragover', (e) => {
    e.preventDefault();
    zone.classList.add('over');
  });
  document.addEventListener('dragleave', (e) => e.relatedTarget || zone.classList.remove('over'));
  document.addEventListener('drop', async (e) => {
    e.preventDefault();
    zone.classList.remove('over');
    send(await dropped(e.dataTransfer));
  });
  try {
    for (const told of await (await ask('cases')).json()) jobs.set(told.id, { told });
  } catch (e) {
    message(e.message);
  }
  draw();
  poll();
}

function describe() {
  const m = models.find((m) => m.name === $('model').value) ?? models[0];
  if (!m) {
    $('model-note').textContent = 'No model here takes files.';
    return;
  }
  const what = m.kind === 'volume' ? 'a volume (NIfTI, MGH, NRRD) or the files of a DICOM series' : 'a photo, a tile or a slide';
  const several = m.inputs.length > 1 ? ` Together: ${m.inputs.join(', ')}.` : '';
  $('model-note').textContent = `${models.length < 2 ? `${m.name}: ` : ''}${what}, or a ZIP file.${several}`;
}

/** All files that were dropped, those in folders too. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((i) => i.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      files.push(await new Promise((done, fail) => entry.file(done, fail)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const part = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!part.length) return;
      for (const e of part) await walk(e);
    }
  };
  for (const e of entries) await walk(e);
  return files;
}

function send(files) {
  if (!files.length || !models.length) return;
  const key = `upload ${(uploads += 1)}`;
  const form = new FormData();
  for (const f of files) form.append('file', f, f.name);
  const request = new XMLHttpRequest();
  const job = { told: { id: key, name: files[0].name, uploaded: files.length, state: 'sending' }, request, share: 0 };
  jobs.set(key, job);
  request.upload.addEventListener('progress', (e) => {
    job.share = e.lengthComputable ? e.loaded / e.total : 0;
    draw();
  });
  const failed = (why) => {
    job.told = { ...job.told, state: 'failed', error: why };
    job.request = null;
    draw();
  };
  request.addEventListener('load', () => {
    let told = {};
    try {
      told = JSON.parse(request.responseText);
    } catch {
      // Said below.
    }
    if (request.status !== 202) return failed(told.error || `the program answered ${request.status}`);
    jobs.delete(key);
    jobs.set(told.id, { told, show: true });
    draw();
  });
  request.addEventListener('error', () => failed('the upload was cut off'));
  request.addEventListener('abort', () => {
    jobs.delete(key);
    draw();
  });
  request.open('POST', `cases?model=${encodeURIComponent($('model').value)}&heat=1`);
  request.send(form);
  draw();
}

const busy = (told) => ['receiving', 'queued', 'running'].includes(told.state);

async function poll() {
  for (const [id, job] of jobs) {
    if (job.request || !busy(job.told)) continue;
    try {
      job.told = await (await ask(`cases/${id}`)).json();
    } catch (e) {
      job.told = { ...job.told, state: 'failed', error: e.message };
    }
    if (job.told.state === 'done' && job.show) look(id);
    draw();
  }
  setTimeout(poll, 400);
}

function look(id) {
  const job = jobs.get(id);
  chosen = id;
  job.show = false;
  openSources([{ id, name: job.told.name }]).catch((e) => message(e.message));
  draw();
}

async function remove(id) {
  const job = jobs.get(id);
  if (job.request) return job.request.abort();
  jobs.delete(id);
  if (chosen === id) {
    chosen = null;
    closeSources();
  }
  draw();
  if (!id.startsWith('upload ')) await ask(`cases/${id}`, { method: 'DELETE' }).catch(() => {});
}

function sentence(job) {
  const t = job.told;
  const cases = t.cases ? `case ${Math.min(t.cases.done + 1, t.cases.of)} of ${t.cases.of}` : '';
  const parts = t.parts?.of > 1 ? `part ${t.parts.done} of ${t.parts.of}` : '';
  switch (t.state) {
    case 'sending':
      return `sending ${Math.round(100 * job.share)} %`;
    case 'queued':
      return t.position ? `waits behind ${t.position}` : 'waits';
    case 'running':
      return ['runs', t.cases?.of > 1 ? cases : '', parts].filter(Boolean).join(', ');
    case 'done':
      return [t.results?.length === 1 ? t.results[0].summary : `${t.results?.length ?? ''} cases done`, t.failed ? `${t.failed} failed` : '']
        .filter(Boolean)
        .join(', ');
    case 'failed':
      return t.error;
    default:
      return t.state;
  }
}

function button(text, act) {
  const b = document.createElement('button');
  b.type = 'button';
  b.textContent = text;
  b.addEventListener('click', act);
  return b;
}

function entry(id, job) {
  const t = job.told;
  const li = document.createElement('li');
  li.className = id === chosen ? 'chosen' : '';
  const more = t.uploaded > 1 ? ` and ${t.uploaded - 1} more` : '';
  li.append(Object.assign(document.createElement('span'), { className: 'name', textContent: `${t.name}${more}` }));
  li.append(Object.assign(document.createElement('span'), { className: `state ${t.state === 'failed' ? 'bad' : ''}`, textContent: sentence(job) }));
  if (t.state === 'sending' || busy(t)) {
    const bar = document.createElement('progress');
    if (t.state === 'sending') bar.value = job.share;
    else if (t.state === 'running' && (t.parts?.of > 1 || t.cases?.of > 1)) {
      const part = t.parts?.of ? t.parts.done / t.parts.of : 0;
      bar.value = (t.cases.done + part) / t.cases.of;
    }
    li.append(bar);
  }
  const acts = document.createElement('div');
  acts.className = 'acts';
  if (t.state === 'done') {
    acts.append(button('Look', () => look(id)));
    const a = Object.assign(document.createElement('a'), { href: `cases/${id}/result`, download: 'results.zip', textContent: 'Download' });
    acts.append(a);
  }
  acts.append(button(busy(t) || t.state === 'sending' ? 'Cancel' : 'Remove', () => remove(id)));
  li.append(acts);
  return li;
}

function draw() {
  $('jobs').replaceChildren(...[...jobs].reverse().map(([id, job]) => entry(id, job)));
}

// What is shown of a case: a volume by NiiVue, slides and photos by OpenSeadragon.
import { ask } from './app.js';

const loaded = {};

/** Loads a library when it is needed first. */
function library(file) {
  loaded[file] ??= new Promise((done, fail) => {
    const script = document.createElement('script');
    script.src = file;
    script.addEventListener('load', done);
    script.addEventListener('error', () => fail(new Error(`${file} could not be loaded`)));
    document.head.append(script);
  });
  return loaded[file];
}

function note(pane, text, corner) {
  const p = document.createElement('p');
  p.className = corner ? 'note corner' : 'note';
  p.textContent = text;
  pane.append(p);
  return p;
}

/** One or more panes side by side. */
export class Panes {
  constructor(box) {
    this.box = box;
    this.looks = [];
    this.turn = 0;
  }

  close() {
    this.turn += 1;
    for (const look of this.looks) look.close();
    this.looks = [];
    this.box.replaceChildren();
  }

  async show(list, state) {
    this.close();
    const turn = this.turn;
    this.box.className = list.length > 1 ? 'two' : '';
    const panes = list.map(({ tag }) => {
      const pane = document.createElement('div');
      pane.className = 'pane';
      if (tag) pane.append(Object.assign(document.createElement('span'), { className: 'tag', textContent: tag }));
      this.box.append(pane);
      return pane;
    });
    const looks = await Promise.all(list.map((p, i) => open(panes[i], p)));
    if (turn !== this.turn) {
      looks.forEach((l) => l.close());
      return;
    }
    this.looks = looks;
    if (looks.length > 1 && looks.every((l) => l.sync)) looks[0].sync(looks[1]);
    this.update(state);
    this.box.dataset.ready = String(turn);
  }

  update(state) {
    for (const look of this.looks) look.update(state);
  }
}

const NOTHING = { update() {}, close() {} };

async function open(pane, { source, made }) {
  if (!made || !made.kind) {
    note(pane, made ? 'There are no results of this case.' : 'The case is not in this folder.');
    return NOTHING;
  }
  const base = `r/${source.id}/cases/${made.n}/`;
  const busy = note(pane, 'Loading …');
  try {
    const look = await { volume, photo, slide }[made.kind](pane, base, made);
    busy.remove();
    return look;
  } catch (e) {
    busy.remove();
    return picture(pane, base, made, e.message);
  }
}

/** What is left where the image itself cannot be shown: the picture that the run drew. */
async function picture(pane, base, made, why) {
  if (!made.picture) {
    note(pane, why);
    return NOTHING;
  }
  const look = await images(pane, { type: 'image', url: `${base}pictures/picture/0` });
  note(pane, `Only the picture of the run is shown: ${why}.`, true);
  return look;
}

// Volumes.

async function volume(pane, base, made) {
  await library('niivue.js');
  const canvas = document.createElement('canvas');
  canvas.className = 'volume';
  pane.append(canvas);
  const nv = new niivue.Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.35, 0.78, 0.69, 0.8],
    dragAndDropEnabled: false,
    show3Dcrosshair: true,
    multiplanarForceRender: true,
    fontColor: [0.95, 0.8, 0.35, 1],
    showAllOrientationMarkers: true,
    multiplanarPadPixels: 6,
    isNearestInterpolation: false,
    logLevel: 'error',
    clipPlaneHotKey: '',
    cycleClipPlaneHotKey: '',
    viewModeHotKey: '',
  });
  await nv.attachToCanvas(canvas);
  const list = [];
  let missing = '';
  const image = await bytes(`${base}image.nii`).catch((e) => ((missing = e.message), null));
  if (image) list.push({ url: image, name: 'image.nii', colormap: 'gray' });
  const labels = made.mask ? await bytes(`${base}labels.nii`) : null;
  if (labels) list.push({ url: labels, name: 'labels.nii', opacity: image ? 0.5 : 1 });
  if (!list.length) throw new Error(missing || 'there is nothing to show');
  await nv.loadVolumes(list);
  for (const entry of list) URL.revokeObjectURL(entry.url);
  const at = image ? 1 : 0;
  if (labels) colour(nv, nv.volumes[at], made.labels);
  if (missing) note(pane, `Labels only: ${missing}.`, true);
  const types = [3, 0, 1, 2, 4];
  return {
    nv,
    update(state) {
      nv.setSliceType(types[state.view]);
      if (labels) nv.setOpacity(at, state.labels ? (image ? state.opacity : 1) : 0);
    },
    sync(other) {
      if (!other.nv) return;
      nv.broadcastTo([other.nv], { '2d': true, '3d': true });
      other.nv.broadcastTo([nv], { '2d': true, '3d': true });
    },
    close() {
      // Browsers allow a few contexts only.
      nv.gl?.getExtension('WEBGL_lose_context')?.loseContext();
      canvas.remove();
    },
  };
}

/** An address in memory of what the service sends, so that its errors are seen. */
async function bytes(path) {
  const answer = await ask(path);
  return URL.createObjectURL(await answer.blob());
}

function colour(nv, volume, labels) {
  const map = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [''] };
  for (const l of [...labels].sort((a, b) => a.value - b.value)) {
    map.R.push(l.colour[0]);
    map.G.push(l.colour[1]);
    map.B.push(l.colour[2]);
    map.A.push(255);
    map.I.push(l.value);
    map.labels.push(l.name);
  }
  volume.setColormapLabel(map);
  nv.opts.showLegend = false;
  nv.updateGLVolume();
}

// Photos and slides.

function viewer(pane, sources) {
  const box = document.createElement('div');
  box.className = 'viewer';
  pane.append(box);
  return new Promise((done, fail) => {
    const osd = OpenSeadragon({
      element: box,
      tileSources: sources,
      drawer: 'canvas',
      showNavigationControl: false,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { dblClickToZoom: true },
      maxZoomPixelRatio: 4,
      visibilityRatio: 0.5,
      animationTime: 0.5,
      imageSmoothingEnabled: true,
      keyboardNavEnabled: false,
    });
    osd.addHandler('open', () => done(osd));
    osd.addHandler('open-failed', (e) => fail(new Error(e.message)));
  });
}

function add(osd, options) {
  return new Promise((done, fail) => {
    osd.addTiledImage({ ...options, success: (e) => done(e.item), error: (e) => fail(new Error(e.message)) });
  });
}

function together(a, b) {
  let leading = null;
  const follow = (from, to) =>
    from.addHandler('update-viewport', () => {
      if (leading && leading !== from) return;
      leading = from;
      to.viewport.zoomTo(from.viewport.getZoom(true), null, true);
      to.viewport.panTo(from.viewport.getCenter(true), true);
      leading = null;
    });
  follow(a, b);
  follow(b, a);
}

async function images(pane, source, extra = {}) {
  await library('openseadragon.js');
  const osd = await viewer(pane, source);
  return {
    osd,
    update: extra.update ? (state) => extra.update(state, osd) : () => {},
    sync: (other) => other.osd && together(osd, other.osd),
    close: () => osd.destroy(),
  };
}

async function photo(pane, base, made) {
  // Asked for first, so that the service's sentence is seen where there is no image.
  const image = await bytes(`${base}photo.jpg`);
  const look = await images(pane, { type: 'image', url: image });
  const { osd } = look;
  const overlay = made.mask ? await add(osd, { tileSource: { type: 'image', url: `${base}overlay.png` }, width: 1, opacity: 0.5 }) : null;
  let heat = null;
  let wanted = false;
  look.update = (state) => {
    overlay?.setOpacity(state.labels && !(state.heat && made.heat) ? state.opacity : 0);
    wanted = state.heat && made.heat > 0;
    if (wanted && !heat) {
      heat = add(osd, { tileSource: { type: 'image', url: `${base}pictures/heat/0` }, width: 1, opacity: 0 });
    }
    heat?.then((item) => item.setOpacity(wanted ? 1 : 0));
  };
  const close = look.close;
  look.close = () => {
    close();
    URL.revokeObjectURL(image);
  };
  return look;
}

const tiles = (told, path) => ({
  width: told.width,
  height: told.height,
  tileSize: told.tile,
  minLevel: Math.min(8, told.finest),
  maxLevel: told.finest,
  getTileUrl: (level, x, y) => `${path}/${level}/${x}/${y}`,
});

async function slide(pane, base) {
  const told = await (await ask(`${base}slide.json`)).json();
  const look = await images(pane, tiles(told, `${base}tiles`));
  const { osd } = look;
  const first = osd.world.getItemAt(0);
  const maps = [];
  for (const [i, map] of told.maps.entries()) {
    // A map's pixels lie on the slide's from its corner on.
    const width = told.downsample ? (map.width * told.downsample) / told.width : 1;
    maps.push(await add(osd, { tileSource: tiles(map, `${base}maps/${i}`), width, opacity: 0 }));
  }
  const canvas = document.createElement('canvas');
  canvas.className = 'outlines';
  osd.canvas.append(canvas);
  let shapes = [];
  let state = { labels: true, opacity: 0.5 };
  const redraw = () => drawOutlines(canvas, osd, first, shapes, state);
  osd.addHandler('update-viewport', redraw);
  osd.addHandler('resize', redraw);
  ask(`${base}outlines.json`)
    .then((a) => a.json())
    .then((json) => {
      shapes = paths(json);
      redraw();
    })
    .catch((e) => note(pane, `The outlines are not shown: ${e.message}.`, true));
  look.update = (s) => {
    state = s;
    maps.forEach((m) => m.setOpacity(s.heat ? Math.max(0.3, s.opacity) : 0));
    redraw();
  };
  return look;
}

/** One path a class, in pixels of the slide. */
function paths(json) {
  const byClass = new Map();
  const ring = (path, points) => {
    points.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  };
  for (const f of json.features ?? []) {
    const c = f.properties?.classification ?? {};
    const key = c.name ?? '';
    if (!byClass.has(key)) byClass.set(key, { colour: c.color ?? [255, 200, 0], path: new Path2D() });
    const { path } = byClass.get(key);
    const g = f.geometry;
    if (g?.type === 'Polygon') g.coordinates.forEach((r) => ring(path, r));
    if (g?.type === 'MultiPolygon') g.coordinates.flat().forEach((r) => ring(path, r));
  }
  return [...byClass.values()];
}

function drawOutlines(canvas, osd, item, shapes, state) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [osd.canvas.clientWidth, osd.canvas.clientHeight];
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
  }
  const context = canvas.getContext('2d');
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!state.labels) return;
  const a = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0), true);
  const b = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(1000, 0), true);
  const scale = (b.x - a.x) / 1000;
  context.setTransform(scale * ratio, 0, 0, scale * ratio, a.x * ratio, a.y * ratio);
  for (const { colour, path } of shapes) {
    context.fillStyle = `rgba(${colour.join(',')},${state.opacity * 0.4})`;
    context.fill(path, 'evenodd');
    context.lineWidth = 2 / scale;
    context.strokeStyle = `rgb(${colour.join(',')})`;
    context.stroke(path);
  }
}

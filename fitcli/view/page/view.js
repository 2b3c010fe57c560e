// The page of `fit view`: images with deep zoom, side by side with one zoom, and layers over them.
"use strict";

const TILE = 256;             // pixels per side of a tile, as on the server
const FINER = 5;              // levels of shapes above that of the pixels of the image
const PARTS = 4;              // coordinates of shapes per pixel of a level
const MOST_REQUESTS = 4;      // tiles of shapes that are asked for at the same time
const FRAME_MS = 8;           // time per frame for drawing tiles of shapes
const MOST_TILES = 400;       // tiles of shapes that are kept per layer
const READING_MS = 500;       // time between questions for a file that is still read

const page = { panes: [], leader: null, ready: false };
window.fitView = page;

start();

async function start() {
  const scene = await (await fetch("scene.json")).json();
  for (const [number, described] of scene.panes.entries()) {
    page.panes.push(makePane(number, described, scene.panes.length));
  }
  page.leader = page.panes[0];
  // A viewer measures its place once, so all places have to be there before.
  for (const pane of page.panes) makeViewer(pane);
  document.title = scene.panes.map((each) => each.image.name).join(", ") + " - fit view";
  makeSections();
  connectKeys();
  readHash();
  page.ready = true;
}

// ---------------------------------------------------------------------------------------------------- elements

function element(kind, settings = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(settings)) {
    if (name === "class") made.className = value;
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

function rgb(color) {
  return `rgb(${color.join(" ")})`;
}

function say(text) {
  document.getElementById("note").textContent = text;
}

// ------------------------------------------------------------------------------------------------------- panes

function makePane(number, described, count) {
  const holder = element("div", { class: "viewer", tabIndex: 0 });
  const pane = {
    number,
    holder,
    image: described.image,
    layers: described.layers,
    title: element("div", { class: "title", textContent: described.image.name }),
    readout: element("div", { class: "readout" }),
    bar: element("div", { class: "bar" }),
  };
  const frame = element("div", { class: "pane" }, holder);
  if (count > 1) frame.append(pane.title);
  frame.append(pane.readout, pane.bar);
  document.getElementById("panes").append(frame);
  for (const layer of pane.layers) {
    layer.shown = true;
    layer.hidden = new Set();
    layer.channel = 0;
  }
  return pane;
}

function makeViewer(pane) {
  pane.viewer = OpenSeadragon({
    element: pane.holder,
    drawer: "canvas",
    showNavigationControl: false,
    showNavigator: false,
    animationTime: 0.35,
    springStiffness: 9,
    maxZoomPixelRatio: 24,
    minZoomImageRatio: 0.5,
    visibilityRatio: 0.2,
    zoomPerScroll: 1.35,
    preserveImageSizeOnResize: true,
    imageLoaderLimit: 6,
    maxImageCacheCount: 400,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    crossOriginPolicy: false,
    tileSources: imageSource(pane.image),
  });
  pane.viewer.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; });
  for (const event of ["canvas-press", "canvas-scroll", "canvas-pinch"]) {
    pane.viewer.addHandler(event, () => { page.leader = pane; });
  }
  pane.viewer.addHandler("open", () => opened(pane));
  pane.shapes = element("canvas", { class: "shapes" });
  pane.viewer.canvas.append(pane.shapes);
  pane.viewer.addHandler("update-viewport", () => drawShapes(pane));
  pane.viewer.addHandler("animation", () => follow(pane));
  pane.viewer.addHandler("animation-finish", () => { follow(pane); pointAgain(); writeHash(); });
  pane.viewer.addHandler("resize", () => pane.viewer.forceRedraw());
  new OpenSeadragon.MouseTracker({
    element: pane.holder,
    moveHandler: (event) => pointAt(event.position, pane),
    leaveHandler: () => {
      page.pointer = null;
      for (const each of page.panes) each.readout.textContent = "";
    },
  });
}

function imageSource(image) {
  return {
    width: image.width,
    height: image.height,
    tileSize: TILE,
    minLevel: image.lowest,
    maxLevel: image.top,
    getTileUrl: (level, x, y) => `tile/${image.id}/${level}/${x}_${y}${channelQuery(image)}`,
  };
}

function channelQuery(image) {
  const shown = image.channels.filter((each) => each.shown).slice(0, 8);
  if (!shown.length) return `?c=0:${3e38}:${3.1e38}:000000`;
  return "?c=" + shown.map((c) => `${c.number}:${c.low}:${c.high}:${c.color}`).join(",");
}

function layerSource(layer) {
  const choices = [];
  if (layer.channel) choices.push(`channel=${layer.channel}`);
  if (layer.hidden.size) choices.push(`hidden=${[...layer.hidden].join(".")}`);
  const query = choices.length ? "?" + choices.join("&") : "";
  return {
    width: layer.width,
    height: layer.height,
    tileSize: TILE,
    minLevel: layer.lowest,
    maxLevel: layer.top,
    getTileUrl: (level, x, y) => `tile/${layer.id}/${level}/${x}_${y}${query}`,
    hasTransparency: () => true,
  };
}

function opened(pane) {
  for (const layer of pane.layers) {
    if (layer.kind === "features") watch(pane, layer);
    else addRaster(pane, layer);
  }
  smoothing(pane);
  applyHash(pane);
}

function addRaster(pane, layer) {
  const [left, top, across] = layer.place;
  const before = layer.item;
  layer.item = null;
  layer.version = (layer.version || 0) + 1;
  const version = layer.version;
  pane.viewer.addTiledImage({
    tileSource: layerSource(layer),
    x: left / pane.image.width,
    y: top / pane.image.width,
    width: (layer.width * across) / pane.image.width,
    opacity: layer.shown ? layer.opacity : 0,
    success: ({ item }) => {
      if (version !== layer.version) { pane.viewer.world.removeItem(item); return; }
      layer.item = item;
      if (before) pane.viewer.world.removeItem(before);
      order(pane);
      smoothing(pane);
    },
  });
}

function order(pane) {
  const items = pane.layers.map((layer) => layer.item).filter(Boolean);
  for (const [number, item] of items.entries()) {
    if (pane.viewer.world.getItemAt(number + 1) !== item) pane.viewer.world.setItemIndex(item, number + 1);
  }
}

function reloadImage(pane) {
  const before = pane.viewer.world.getItemAt(0);
  pane.reloading = (pane.reloading || 0) + 1;
  const turn = pane.reloading;
  pane.viewer.addTiledImage({
    tileSource: imageSource(pane.image),
    index: 0,
    success: ({ item }) => {
      if (turn !== pane.reloading) { pane.viewer.world.removeItem(item); return; }
      // The tiles that are there stay until the new ones have come.
      const drop = () => { if (pane.viewer.world.getIndexOfItem(before) >= 0) pane.viewer.world.removeItem(before); };
      pane.viewer.world.setItemIndex(before, 0);
      if (item.getFullyLoaded()) drop();
      else item.addHandler("fully-loaded-change", (event) => { if (event.fullyLoaded) drop(); });
    },
  });
}

function smoothing(pane) {
  // Enlarged pixels stay squares, so that classes do not mix and pixels can be told apart.
  const smooth = imageZoom(pane) < 1;
  if (pane.smooth !== smooth) {
    pane.smooth = smooth;
    pane.viewer.drawer.setImageSmoothingEnabled(smooth);
    pane.viewer.forceRedraw();
  }
}

function imageZoom(pane) {
  const viewport = pane.viewer.viewport;
  return (viewport.getZoom(true) * viewport.getContainerSize().x) / pane.image.width;
}

function follow(from) {
  smoothing(from);
  drawBar(from);
  // The others follow the one that is moved: the echo of its movement must not stop it.
  if (page.leader !== from) return;
  for (const pane of page.panes) {
    if (pane !== from && pane.viewer.isOpen()) {
      pane.viewer.viewport.zoomTo(from.viewer.viewport.getZoom(true), null, true);
      pane.viewer.viewport.panTo(from.viewer.viewport.getCenter(true), true);
      smoothing(pane);
      drawBar(pane);
    }
  }
}

function lead() {
  page.leader = page.panes[0];
  return page.leader.viewer.viewport;
}

// ---------------------------------------------------------------------------------------------- values and scale

function pointAgain() {
  if (page.pointer) pointAt(page.pointer.position, page.pointer.pane);
}

function pointAt(position, from) {
  page.pointer = { position, pane: from };
  const place = from.viewer.viewport.pointFromPixel(position, true);
  for (const pane of page.panes) {
    const x = place.x * pane.image.width, y = place.y * pane.image.width;
    askValues(pane, Math.floor(x), Math.floor(y));
  }
}

function askValues(pane, x, y) {
  if (x < 0 || y < 0 || x >= pane.image.width || y >= pane.image.height) {
    pane.readout.textContent = "";
    pane.asked = "";
    return;
  }
  const asked = `${x}_${y}`;
  if (pane.asked === asked) return;
  pane.asked = asked;
  pane.readout.textContent = placeText(pane.image, x, y) + (pane.values ? "\n" + pane.values : "");
  clearTimeout(pane.timer);
  pane.timer = setTimeout(async () => {
    const found = await (await fetch(`values/${pane.number}/${asked}`)).json();
    if (pane.asked !== asked) return;
    const lines = [found.error || found[pane.image.id]];
    for (const layer of pane.layers) {
      if (layer.shown && found[layer.id]) lines.push(`${layer.name}: ${found[layer.id]}`);
    }
    pane.values = lines.join("\n");
    pane.readout.textContent = `${placeText(pane.image, x, y)}\n${pane.values}`;
  }, 50);
}

function placeText(image, x, y) {
  let text = `x ${x}, y ${y}`;
  if (image.world) {
    const [a, b, c, d, e, f] = image.world;
    const digits = image.unit === "degree" ? 6 : 2;
    const east = a * (x + 0.5) + b * (y + 0.5) + c, north = d * (x + 0.5) + e * (y + 0.5) + f;
    text += `   ${east.toFixed(digits)}, ${north.toFixed(digits)} ${image.system}`;
  } else if (image.unit === "m") {
    text += `   ${length(x * image.pixel)}, ${length(y * image.pixel)}`;
  }
  return text;
}

function length(metres) {
  const size = Math.abs(metres);
  if (size >= 1000) return `${round(metres / 1000)} km`;
  if (size >= 1) return `${round(metres)} m`;
  if (size >= 1e-3) return `${round(metres * 1e3)} mm`;
  return `${round(metres * 1e6)} µm`;
}

function round(value) {
  return Number(value.toPrecision(4)).toString();
}

function barOf(pane) {
  // The longest round length that fits into 160 pixels of the screen.
  const { pixel = 1, unit = "px" } = pane.image;
  const per = pixel / imageZoom(pane);
  const most = 160 * per;
  const power = 10 ** Math.floor(Math.log10(most));
  const whole = [5, 2, 1].find((each) => each * power <= most) * power;
  const text = unit === "m" ? length(whole) : unit === "degree" ? `${round(whole)}°` : `${round(whole)} px`;
  return { text, width: whole / per };
}

function drawBar(pane) {
  const { text, width } = barOf(pane);
  const line = element("i");
  line.style.width = `${width}px`;
  pane.bar.replaceChildren(text, line);
}

// ----------------------------------------------------------------------------------------------------- shapes

function watch(pane, layer) {
  layer.tiles = layer.tiles || new Map();
  layer.waiting = layer.waiting || 0;
  if (layer.state === "reading") {
    setTimeout(async () => {
      const before = { version: layer.version, state: layer.state, classes: layer.classes || [] };
      const found = await (await fetch(`layer/${layer.id}`)).json();
      Object.assign(layer, { classes: undefined }, found, { shown: layer.shown, opacity: layer.opacity });
      if (layer.version !== before.version || layer.state !== before.state) {
        // More of the file may give other numbers to the classes.
        const hidden = before.classes.filter((each) => layer.hidden.has(each.value)).map((each) => each.name);
        layer.hidden = new Set((layer.classes || []).filter((each) => hidden.includes(each.name)).map((each) => each.value));
        fillLayer(pane, layer);
        pane.viewer.forceRedraw();
      }
      watch(pane, layer);
    }, READING_MS);
  } else {
    pane.viewer.forceRedraw();
  }
}

// Draws all layers of shapes. Each tile is drawn once on a canvas of its own, sharp at the zoom at rest; while the view
// moves, these canvases are moved and scaled.
function drawShapes(pane) {
  const layers = pane.layers.filter((layer) => layer.kind === "features" && layer.classes);
  const item = pane.viewer.world.getItemAt(0);
  const ratio = window.devicePixelRatio || 1;
  const size = pane.viewer.viewport.getContainerSize();
  const width = Math.round(size.x * ratio), height = Math.round(size.y * ratio);
  const canvas = pane.shapes;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
    canvas.style.width = `${size.x}px`;
    canvas.style.height = `${size.y}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!item || !layers.length) return;
  const zoom = imageZoom(pane) * ratio;
  const corner = pane.viewer.viewport.pixelFromPoint(new OpenSeadragon.Point(0, 0), true);
  const origin = { x: Math.round(corner.x * ratio), y: Math.round(corner.y * ratio) };
  const view = { zoom, origin, width, height, ratio, until: performance.now() + FRAME_MS, more: false };
  for (const layer of layers) {
    if (layer.shown && layer.opacity > 0) drawLayer(pane, layer, context, view);
  }
  if (view.more) requestAnimationFrame(() => pane.viewer.forceRedraw());
}

function levelFor(image, zoom) {
  const level = image.top + Math.ceil(Math.log2(zoom) - 1e-6);
  return Math.max(image.lowest, Math.min(image.top + FINER, level));
}

function visibleTiles(image, level, view) {
  const side = TILE * 2 ** (image.top - level);
  const low = (start) => Math.max(0, Math.floor(-start / view.zoom / side));
  const high = (start, extent, whole) => Math.min(Math.ceil(whole / side) - 1, Math.floor((extent - start) / view.zoom / side));
  const tiles = [];
  for (let y = low(view.origin.y); y <= high(view.origin.y, view.height, image.height); y += 1) {
    for (let x = low(view.origin.x); x <= high(view.origin.x, view.width, image.width); x += 1) tiles.push([x, y]);
  }
  return tiles;
}

function drawLayer(pane, layer, context, view) {
  const image = pane.image;
  const level = levelFor(image, view.zoom);
  context.globalAlpha = layer.opacity;
  const wanted = visibleTiles(image, level, view);
  let dotted = 0;
  layer.wanted = new Set();
  for (const [x, y] of wanted) {
    const key = `${level}/${x}_${y}`;
    layer.wanted.add(key);
    const tile = layer.tiles.get(key);
    if (tile && tile.data) {
      // The most recently used tiles are the last.
      layer.tiles.delete(key);
      layer.tiles.set(key, tile);
      dotted += tile.data.dotted || 0;
      placeTile(layer, tile, level, x, y, context, view, image);
    } else {
      placeCoarser(layer, level, x, y, context, view, image);
      if (!tile) layer.tiles.set(key, { data: null, asked: null });
    }
  }
  context.globalAlpha = 1;
  askTiles(pane, layer);
  for (const key of layer.tiles.keys()) {
    if (layer.tiles.size <= MOST_TILES) break;
    if (!layer.wanted.has(key)) layer.tiles.delete(key);
  }
  if (layer.dotted !== dotted) {
    layer.dotted = dotted;
    if (layer.about) layer.about.textContent = aboutShapes(layer);
  }
}

function edges(level, x, y, view, image) {
  // Whole pixels of the screen, so that neighbouring tiles meet without a seam.
  const side = TILE * 2 ** (image.top - level) * view.zoom;
  return [Math.round(x * side), Math.round(y * side), Math.round((x + 1) * side), Math.round((y + 1) * side)];
}

function placeTile(layer, tile, level, x, y, context, view, image) {
  const [left, top, right, bottom] = edges(level, x, y, view, image);
  if (right <= left || bottom <= top) return;
  const sharp = tile.canvas && tile.zoom === view.zoom && tile.look === layer.look;
  if (!sharp) {
    if (!tile.canvas || performance.now() < view.until) renderTile(layer, tile, level, left, top, right, bottom, x, y, view, image);
    else view.more = true;
  }
  context.drawImage(tile.canvas, view.origin.x + left, view.origin.y + top, right - left, bottom - top);
}

function placeCoarser(layer, level, x, y, context, view, image) {
  for (let up = 1; level - up >= image.lowest; up += 1) {
    const parent = layer.tiles.get(`${level - up}/${x >> up}_${y >> up}`);
    if (!parent || !parent.canvas) continue;
    const [left, top, right, bottom] = edges(level, x, y, view, image);
    const part = parent.canvas.width / 2 ** up;
    const column = (x - ((x >> up) << up)) * part, row = (y - ((y >> up) << up)) * part;
    context.drawImage(parent.canvas, column, row, part, part, view.origin.x + left, view.origin.y + top, right - left, bottom - top);
    return;
  }
}

function renderTile(layer, tile, level, left, top, right, bottom, x, y, view, image) {
  tile.canvas = tile.canvas || document.createElement("canvas");
  tile.canvas.width = right - left;
  tile.canvas.height = bottom - top;
  tile.zoom = view.zoom;
  tile.look = layer.look;
  const context = tile.canvas.getContext("2d");
  const scale = (2 ** (image.top - level) * view.zoom) / PARTS;
  const side = TILE * 2 ** (image.top - level) * view.zoom;
  context.setTransform(scale, 0, 0, scale, x * side - left, y * side - top);
  const shown = (kind) => !layer.hidden.has(kind);
  const color = (kind) => rgb(layer.classes[kind].color);
  for (const [kind, numbers] of tile.data.dots || []) if (shown(kind)) {
    const half = (0.9 * view.ratio) / scale;
    context.fillStyle = color(kind);
    for (let n = 0; n < numbers.length; n += 2) context.fillRect(numbers[n] - half, numbers[n + 1] - half, 2 * half, 2 * half);
  }
  for (const [kind, shapes] of tile.data.outlines || []) if (shown(kind)) {
    const path = new Path2D();
    for (const rings of shapes) for (const ring of rings) {
      path.moveTo(ring[0], ring[1]);
      for (let n = 2; n < ring.length - 2; n += 2) path.lineTo(ring[n], ring[n + 1]);
      path.closePath();
    }
    context.fillStyle = context.strokeStyle = color(kind);
    context.globalAlpha = 0.16;
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
    context.lineWidth = (1.5 * view.ratio) / scale;
    context.stroke(path);
  }
  for (const [kind, numbers] of tile.data.points || []) if (shown(kind)) {
    const path = new Path2D(), radius = (4 * view.ratio) / scale;
    for (let n = 0; n < numbers.length; n += 2) {
      path.moveTo(numbers[n] + radius, numbers[n + 1]);
      path.arc(numbers[n], numbers[n + 1], radius, 0, 7);
    }
    context.fillStyle = color(kind);
    context.fill(path);
    context.lineWidth = view.ratio / scale;
    context.strokeStyle = "#000000aa";
    context.stroke(path);
  }
}

async function askTiles(pane, layer) {
  while (layer.waiting < MOST_REQUESTS) {
    const next = [...layer.wanted].find((key) => layer.tiles.has(key) && layer.tiles.get(key).asked !== layer.version);
    if (!next) return;
    const tile = layer.tiles.get(next), version = layer.version;
    tile.asked = version;
    layer.waiting += 1;
    fetch(`tile/${layer.id}/${next}`)
      .then((answer) => (answer.ok ? answer.json() : {}))
      .catch(() => ({}))
      .then((data) => {
        layer.waiting -= 1;
        if (tile.asked === version) Object.assign(tile, { data, look: -1 });
        pane.viewer.forceRedraw();
      });
  }
}

// -------------------------------------------------------------------------------------------------- side panel

function makeSections() {
  const holder = document.getElementById("sections");
  let number = 0;
  for (const pane of page.panes) {
    holder.append(imageSection(pane));
    for (const layer of pane.layers) {
      number += 1;
      layer.number = number;
      layer.section = element("section", { class: "layer" });
      holder.append(layer.section);
      fillLayer(pane, layer);
    }
  }
  document.getElementById("home").onclick = home;
  document.getElementById("link").onclick = copyLink;
  document.getElementById("save").onclick = savePicture;
  document.getElementById("help").onclick = () => document.getElementById("keys").showModal();
}

function imageSection(pane) {
  const image = pane.image;
  const levels = image.levels.length === 1 ? "1 level" : `${image.levels.length} levels`;
  const parts = [`${image.width} × ${image.height}`, levels, `${image.bands} × ${image.dtype}`, image.format];
  if (image.unit === "m") parts.push(`${length(image.pixel)} per pixel`);
  if (image.system) parts.push(image.system);
  const section = element("section", { class: "image" },
    element("h2", { textContent: image.name }), element("p", { class: "about", textContent: parts.join(", ") }));
  const list = element("div", { class: "channels" });
  const lows = image.channels.map((each) => [each.low, each.high, each.color, each.shown]);
  const change = () => { clearTimeout(image.timer); image.timer = setTimeout(() => reloadImage(pane), 150); };
  const draw = () => list.replaceChildren(...image.channels.map((each) => channelRow(image, each, change)));
  draw();
  const reset = element("button", { class: "small", textContent: "Reset ranges" });
  reset.onclick = () => {
    for (const [n, each] of image.channels.entries()) [each.low, each.high, each.color, each.shown] = lows[n];
    draw();
    change();
  };
  // A map that stands beside others has the colours of its classes over it.
  if (!pane.layers.some((layer) => layer.name === image.name)) section.append(list, reset);
  return section;
}

function channelRow(image, channel, change) {
  const names = image.channels.length === 3 && image.dtype === "uint8" ? ["red", "green", "blue"] : image.bands === 1 ? ["grey"] : [];
  const text = channel.name || names[channel.number] || `channel ${channel.number}`;
  const shown = element("input", { type: "checkbox", checked: channel.shown, ariaLabel: `show ${text}` });
  const color = element("input", { type: "color", value: `#${channel.color}`, ariaLabel: `colour of ${text}` });
  const low = element("input", { type: "number", value: channel.low, step: "any", ariaLabel: `black of ${text}` });
  const high = element("input", { type: "number", value: channel.high, step: "any", ariaLabel: `white of ${text}` });
  shown.onchange = () => { channel.shown = shown.checked; change(); };
  color.onchange = () => { channel.color = color.value.slice(1); change(); };
  low.onchange = high.onchange = () => {
    if (!(low.valueAsNumber < high.valueAsNumber)) { say("The lower end of a range has to be below the upper one."); return; }
    say("");
    channel.low = low.valueAsNumber;
    channel.high = high.valueAsNumber;
    change();
  };
  return element("div", { class: "channel" }, shown, color, element("span", { class: "name", title: text, textContent: text }), low, high);
}

function fillLayer(pane, layer) {
  const section = layer.section;
  if (!section) return;
  layer.look = layer.look || 0;
  layer.check = element("input", { type: "checkbox", checked: layer.shown });
  layer.check.onchange = () => toggle(layer, layer.check.checked);
  const name = element("label", {}, layer.check, element("span", { textContent: `${layer.number}  ${layer.name}` }));
  layer.about = element("p", { class: "about" });
  layer.slider = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: layer.opacity, ariaLabel: `opacity of ${layer.name}` });
  layer.percent = element("output", { textContent: `${Math.round(100 * layer.opacity)} %` });
  layer.slider.oninput = () => setOpacity(layer, layer.slider.valueAsNumber);
  section.replaceChildren(element("h2", {}, name), layer.about,
    element("div", { class: "row" }, element("span", { textContent: "Opacity" }), layer.slider, layer.percent));
  layer.pane = pane;
  if (layer.kind === "features") {
    layer.about.textContent = aboutShapes(layer);
    layer.about.classList.toggle("wrong", layer.state === "error");
  } else if (layer.scales && layer.scales[layer.channel].title) {
    layer.about.textContent = layer.scales[layer.channel].title;
  } else {
    layer.about.textContent = `${layer.width} × ${layer.height}`;
  }
  if (layer.scales && layer.scales.length > 1) section.append(channelMenu(pane, layer));
  if (layer.scales) section.append(scaleLegend(layer.scales[layer.channel]));
  if (layer.classes) section.append(classList(pane, layer));
}

function aboutShapes(layer) {
  if (layer.state === "error") return layer.error;
  if (!layer.classes) return "is being read ...";
  const more = layer.state === "reading" ? " so far, is being read ..." : "";
  const parts = [`${layer.count.toLocaleString("en")} shapes${more}`, ...layer.notes];
  if (layer.dotted) parts.push(`${layer.dotted.toLocaleString("en")} shown as dots: zoom in for outlines`);
  return parts.join("; ");
}

function channelMenu(pane, layer) {
  const menu = element("select", { ariaLabel: `channel of ${layer.name}` });
  for (const number of layer.scales.keys()) {
    menu.append(element("option", { value: number, textContent: layer.channels[number] || `channel ${number}` }));
  }
  menu.value = layer.channel;
  menu.onchange = () => {
    layer.channel = Number(menu.value);
    addRaster(pane, layer);
    fillLayer(pane, layer);
  };
  return menu;
}

function scaleLegend(scale) {
  const colors = element("div", { class: "colors" });
  colors.style.background = `linear-gradient(to right, ${scale.colors.map(rgb).join(", ")})`;
  const ticks = element("div", { class: "ticks" });
  for (const tick of scale.ticks) {
    const mark = element("span", {}, tick.text);
    if (tick.note) mark.append(element("br"), tick.note);
    mark.style.left = `${100 * tick.place}%`;
    ticks.append(mark);
  }
  return element("div", { class: "scale" }, colors, ticks, element("div", { class: "unit", textContent: scale.unit }));
}

function classList(pane, layer) {
  const list = element("ul", { class: "classes" });
  for (const each of layer.classes) {
    const check = element("input", { type: "checkbox", checked: !layer.hidden.has(each.value) });
    check.onchange = () => {
      if (check.checked) layer.hidden.delete(each.value);
      else layer.hidden.add(each.value);
      layer.look += 1;
      if (layer.kind === "features") pane.viewer.forceRedraw();
      else addRaster(pane, layer);
    };
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = rgb(each.color);
    const count = each.count === undefined ? "" : each.count.toLocaleString("en");
    list.append(element("li", {}, element("label", {}, check, swatch,
      element("span", { class: "name", textContent: each.name }), element("span", { class: "count", textContent: count }))));
  }
  return list;
}

function toggle(layer, shown) {
  layer.shown = shown;
  layer.check.checked = shown;
  if (layer.item) layer.item.setOpacity(shown ? layer.opacity : 0);
  layer.pane.viewer.forceRedraw();
  writeHash();
}

function setOpacity(layer, opacity) {
  layer.opacity = Math.min(1, Math.max(0, opacity));
  layer.slider.value = layer.opacity;
  layer.percent.textContent = `${Math.round(100 * layer.opacity)} %`;
  if (layer.item && layer.shown) layer.item.setOpacity(layer.opacity);
  layer.pane.viewer.forceRedraw();
  writeHash();
}

// ------------------------------------------------------------------------------------------- keys, link, picture

function allLayers() {
  return page.panes.flatMap((pane) => pane.layers);
}

function home() {
  lead().goHome();
}

function connectKeys() {
  const pan = (x, y) => {
    const viewport = lead(), bounds = viewport.getBounds();
    viewport.panBy(new OpenSeadragon.Point(0.15 * x * bounds.width, 0.15 * y * bounds.height));
  };
  const zoom = (factor) => lead().zoomBy(factor);
  const keys = {
    ArrowLeft: () => pan(-1, 0), ArrowRight: () => pan(1, 0), ArrowUp: () => pan(0, -1), ArrowDown: () => pan(0, 1),
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": home, Home: home,
    f: () => { const viewport = lead(); viewport.zoomTo(page.panes[0].image.width / viewport.getContainerSize().x); },
    l: () => { const some = allLayers().some((each) => each.shown); for (const each of allLayers()) toggle(each, !some); },
    "[": () => { for (const each of allLayers()) if (each.shown) setOpacity(each, each.opacity - 0.1); },
    "]": () => { for (const each of allLayers()) if (each.shown) setOpacity(each, each.opacity + 0.1); },
    c: copyLink, s: savePicture, h: () => document.body.classList.toggle("wide"),
    "?": () => document.getElementById("keys").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input[type=number], select, input[type=range]") && event.key.length !== 1) return;
    if (event.target.matches("input[type=number]")) return;
    const layer = /^[1-9]$/.test(event.key) ? allLayers()[Number(event.key) - 1] : undefined;
    if (layer) toggle(layer, !layer.shown);
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
}

function writeHash() {
  const pane = page.panes[0];
  if (!page.ready || !pane.viewer.isOpen()) return;
  const centre = pane.viewer.viewport.getCenter(), width = pane.image.width;
  const zoom = (pane.viewer.viewport.getZoom() * pane.viewer.viewport.getContainerSize().x) / width;
  const layers = allLayers().map((each) => `${each.shown ? "" : "-"}${each.opacity.toFixed(2)}`).join(",");
  const parts = [`x=${round2(centre.x * width)}`, `y=${round2(centre.y * width)}`, `zoom=${zoom.toPrecision(5)}`];
  if (layers) parts.push(`layers=${layers}`);
  history.replaceState(null, "", `#${parts.join("&")}`);
}

function round2(value) {
  return Math.round(100 * value) / 100;
}

function readHash() {
  const choices = new URLSearchParams(location.hash.slice(1));
  const numbers = ["x", "y", "zoom"].map((name) => Number.parseFloat(choices.get(name)));
  page.target = numbers.every(Number.isFinite) && numbers[2] > 0 ? numbers : null;
  const layers = (choices.get("layers") || "").split(",");
  for (const [n, layer] of allLayers().entries()) {
    if (!/^-?\d(\.\d+)?$/.test(layers[n] || "")) continue;
    setOpacity(layer, Math.abs(Number.parseFloat(layers[n])));
    toggle(layer, !layers[n].startsWith("-"));
  }
  for (const pane of page.panes) if (pane.viewer.isOpen()) applyHash(pane);
  window.addEventListener("hashchange", () => location.reload());
}

function applyHash(pane) {
  if (page.target) {
    const [x, y, zoom] = page.target, width = page.panes[0].image.width;
    const viewport = pane.viewer.viewport;
    viewport.zoomTo((zoom * width) / viewport.getContainerSize().x, null, true);
    viewport.panTo(new OpenSeadragon.Point(x / width, y / width), true);
  }
  drawBar(pane);
}

async function copyLink() {
  writeHash();
  try {
    await navigator.clipboard.writeText(location.href);
    say("The address of this view was copied; it holds while fit view runs.");
  } catch {
    say(`The address of this view: ${location.href}`);
  }
}

// Draws what the panes show, with their scale bars, on one canvas.
function pictureCanvas() {
  const ratio = window.devicePixelRatio || 1;
  const sizes = page.panes.map((pane) => pane.viewer.viewport.getContainerSize());
  const whole = element("canvas", {
    width: Math.round(ratio * sizes.reduce((sum, each) => sum + each.x, 0)),
    height: Math.round(ratio * Math.max(...sizes.map((each) => each.y))),
  });
  const context = whole.getContext("2d");
  context.fillStyle = "#17191c";
  context.fillRect(0, 0, whole.width, whole.height);
  let left = 0;
  for (const [n, pane] of page.panes.entries()) {
    context.drawImage(pane.viewer.drawer.canvas, left, 0);
    context.drawImage(pane.shapes, left, 0);
    const { text, width } = barOf(pane);
    const right = left + ratio * (sizes[n].x - 16), bottom = ratio * (sizes[n].y - 16);
    context.fillStyle = "#101214cc";
    context.fillRect(right - ratio * (width + 10), bottom - ratio * 30, ratio * (width + 20), ratio * 38);
    context.fillStyle = "#ffffff";
    context.font = `${13 * ratio}px sans-serif`;
    context.textAlign = "center";
    context.fillText(text, right - (ratio * width) / 2, bottom - ratio * 12);
    context.fillRect(right - ratio * width, bottom - ratio * 4, ratio * width, ratio * 4);
    left += ratio * sizes[n].x;
  }
  return whole;
}

function savePicture() {
  pictureCanvas().toBlob((data) => {
    const link = element("a", { href: URL.createObjectURL(data), download: "view.png" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}

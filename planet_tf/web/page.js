"use strict";
// Picking cells, the search, input, and the start of the page.

function cellAt(lat, lng) {
  const place = S2.locate(lat, lng);
  return cells.find((cell) => S2.contains(cell, place)) ?? null;
}

function select(cell, place = null) {
  leavePhoto();
  selected = cell;
  mark = place;
  $("panel").hidden = !cell;
  if (cell) {
    showFacts(cell);
    if (location.hash.slice(1) !== cell.token) location.hash = cell.token;
  }
  redraw();
}

function showFacts(cell) {
  const facts = [["Token", cell.token]];
  data.columns.forEach((c, k) =>
    facts.push([c.name, valueText(c, cell.values[k])]));
  facts.push(["Centre", placeText(...S2.centre(cell), 5)]);
  if (cell.point) facts.push([data.point_name, placeText(...cell.point, 5)]);
  $("place").textContent = cell.name || `Cell ${cell.token}`;
  listFacts(facts, cell);
}

// Terms and values; the value that is a cell's token links to it.
function listFacts(facts, cell) {
  $("facts").replaceChildren(...facts.flatMap(([term, value]) => {
    const [dt, dd] = ["dt", "dd"].map((tag) => document.createElement(tag));
    dt.textContent = term;
    dd.textContent = value;
    if (cell && value === cell.token) {
      const link = document.createElement("a");
      link.href = `#${value}`;
      link.textContent = value;
      link.onclick = () => select(cell);
      dd.replaceChildren(link);
    }
    return [dt, dd];
  }));
}

function showCell(cell, place = null) {
  const [west, north, east, south] = cell.box;
  const size = Math.max(
    (east - west) / view.width, (south - north) / view.height);
  const [x, y] = place ? toWorld(...place)
    : [(west + east) / 2, (north + south) / 2];
  moveTo(x, y, Math.log2(0.4 / size / TILE));
  select(cell, place);
}

function search(query) {
  const tell = (message) => ($("message").textContent = message);
  tell("");
  const place = query.match(/^\s*(-?\d+\.?\d*)\s*[,\s]\s*(-?\d+\.?\d*)\s*$/);
  if (place) {
    const [lat, lng] = [+place[1], +place[2]];
    if (Math.abs(lat) > 90 || Math.abs(lng) > 180) {
      return tell("Latitudes go to 90, longitudes to 180.");
    }
    const cell = cellAt(lat, lng);
    if (cell) return showCell(cell, [lat, lng]);
    moveTo(...toWorld(lat, lng), Math.max(view.zoom, 9));
    return tell("No cell there.");
  }
  const token = query.trim().toLowerCase();
  const cell = cells.find((c) => c.token === token);
  if (cell) return showCell(cell);
  const other = S2.cell(token);
  if (!other) return tell("Neither a cell token nor lat, lng.");
  moveTo(...toWorld(...S2.centre(other)), Math.min(MAX_ZOOM, other.level + 1));
  return tell("That cell is not in this map.");
}

function pickAt(px, py) {
  $("message").textContent = "";
  const k = photoAt(px, py);
  if (k !== null) return showPhoto(k);
  select(cellAt(...toPlace(...fromScreen(px, py))));
}

function listenToPointers() {
  const down = new Map();
  let moved = 0;
  const middle = () => [0, 1].map((k) =>
    [...down.values()].reduce((sum, p) => sum + p[k], 0) / down.size);
  const spread = () => {
    const [a, b] = [...down.values()];
    return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (!down.size) moved = 0;
    down.set(event.pointerId, [event.clientX, event.clientY]);
    if (down.size > 1) moved = Infinity;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down.has(event.pointerId)) return;
    const [x0, y0] = middle(), before = spread();
    down.set(event.pointerId, [event.clientX, event.clientY]);
    const [x1, y1] = middle(), after = spread();
    moved += Math.abs(x1 - x0) + Math.abs(y1 - y0);
    if (moved < 4) return;
    canvas.classList.add("moving");
    moveTo(
      view.x - (x1 - x0) / scale(), view.y - (y1 - y0) / scale(), view.zoom);
    if (before && after) zoomAt(x1, y1, Math.log2(after / before));
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, (event) => {
      const clicked = down.delete(event.pointerId) && type === "pointerup";
      if (clicked && moved < 4) pickAt(event.clientX, event.clientY);
      if (!down.size) canvas.classList.remove("moving");
    });
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * [1, 30, 300][event.deltaMode];
    const steps = Math.max(-1, Math.min(1, -pixels / 250));
    zoomAt(event.clientX, event.clientY, steps);
  }, {passive: false});
  canvas.addEventListener("dblclick", (event) =>
    zoomAt(event.clientX, event.clientY, 1));
}

function listenToKeys() {
  const zoom = (steps) => zoomAt(view.width / 2, view.height / 2, steps);
  const pan = (x, y) => moveTo(
    view.x + x * view.width / 8 / scale(),
    view.y + y * view.height / 8 / scale(), view.zoom);
  const keys = {
    "ArrowLeft": () => pan(-1, 0), "ArrowRight": () => pan(1, 0),
    "ArrowUp": () => pan(0, -1), "ArrowDown": () => pan(0, 1),
    "+": () => zoom(1), "=": () => zoom(1), "-": () => zoom(-1),
    "Home": home, "Enter": () => pickAt(view.width / 2, view.height / 2)};
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") select(null);
  });
  for (const type of ["focus", "blur"]) canvas.addEventListener(type, redraw);
  $("in").onclick = () => zoom(1);
  $("out").onclick = () => zoom(-1);
  $("home").onclick = home;
  $("close").onclick = () => select(null);
  $("theme").onclick = () => {
    const dark = document.documentElement.dataset.theme === "dark";
    setTheme(dark ? "light" : "dark");
    setColumn(column);
  };
  $("column").onchange = (event) => setColumn(+event.target.value);
  $("search").onsubmit = (event) => {
    event.preventDefault();
    search($("query").value);
  };
  window.addEventListener("resize", resize);
  window.addEventListener("hashchange", showHash);
}

function showHash() {
  const token = location.hash.slice(1);
  const shown = photo === null && selected?.token;
  if (token && token !== shown) search(token);
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const unzipped = new Blob([bytes]).stream().pipeThrough(
    new DecompressionStream("gzip"));
  return new Response(unzipped).json();
}

function unpackRing(steps) { // hundredths of degrees, each from the last
  const ring = new Float64Array(steps.length), lines = [[]];
  let lat = 0, lng = 0, before = false;
  for (let k = 0; k < steps.length; k += 2) {
    lat += steps[k];
    lng += steps[k + 1];
    const at = toWorld(lat / 100, lng / 100);
    ring.set(at, k);
    // The edges along the map's end are no coast, nor is Antarctica's cut.
    const cut = Math.abs(lng) >= 18000 || lat <= -9000 ||
      (lng === 0 && lat < -6000);
    if (cut && before) lines.push([]);
    lines.at(-1).push(...at);
    before = cut;
  }
  if (!before) lines.at(-1).push(ring[0], ring[1]);
  return {ring, lines, box: bounds(ring)};
}

async function start() {
  data = await unpack($("data").textContent);
  cells = data.tokens.map((token, k) => {
    const cell = S2.cell(token);
    cell.values = data.columns.map((c) => c.values[k]);
    cell.name = data.names.length ? data.names[data.name_of[k]] : "";
    cell.point = data.points.length ? data.points[k] : null;
    cell.ring = staticRing(cell);
    cell.box = bounds(cell.ring);
    return cell;
  });
  land = data.land.map((rings) => rings.map(unpackRing));
  points = data.places.map(([name, lat, lng]) => {
    const [x, y] = toWorld(lat, lng);
    return {name, x, y};
  });
  $("column").append(...data.columns.map(({name}, k) => new Option(name, k)));
  $("column").parentElement.hidden = data.columns.length < 2;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(dark ? "dark" : "light");
  setColumn(0);
  resize();
  home();
  startTrack();
  listenToPointers();
  listenToKeys();
  showHash();
}

start().catch((error) => {
  $("message").textContent = `The map cannot be shown: ${error.message}`;
  throw error;
});

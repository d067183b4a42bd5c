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

function listenToKeys() {
  listenToMapKeys();
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") select(null);
  });
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
  takeWorld(data);
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

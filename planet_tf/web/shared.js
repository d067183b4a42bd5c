"use strict";
// What the server's pages share: words, moving the map, the heat of an answer,
// and the start. A page has its own pickAt, drawTrack and placeNumbers.

const TRIES = 5; // of a request that the server is too busy for
let known = []; // the model's cells, as distributions count them
let deepest = 0; // of their levels
let heat = {distribution: null, byLevel: new Map()}; // cells, of what is shown

const percent = (share) => share >= 0.995 ? "over 99 %"
  : share < 0.01 ? "under 1 %" : `${Math.round(100 * share)} %`;
const kmText = (km) =>
  km >= 100 ? `${(Math.round(km / 10) * 10).toLocaleString("en")} km`
  : km >= 1 ? `${Math.round(km)} km` : `${Math.round(1000 * km)} m`;
const placeOf = ({lat, lng}) => [lat, lng];

function make(tag, text = "", parts = []) {
  const element = document.createElement(tag);
  element.textContent = text;
  element.append(...parts);
  return element;
}

function tell(message, failed = false) {
  $("message").textContent = message;
  $("message").classList.toggle("failed", failed);
}

// Has screen readers say what the page shows in several places.
function say(message) {
  $("said").textContent = message;
}

const wait = (seconds) =>
  new Promise((done) => setTimeout(done, 1000 * seconds));

// Moves the map so that all within so many km of a place is seen.
function look(place, km) {
  const {dx, dy, width, height} = freeMap();
  const circle = 40030 * Math.cos(radians(place[0]));
  const zoom = Math.max(leastZoom(), Math.min(13, Math.log2(
    Math.min(width, height) / TILE * circle / Math.max(3 * km, 1))));
  const size = TILE * 2 ** zoom;
  const [x, y] = toWorld(...place);
  moveTo(x - dx / size, y - dy / size, zoom);
}

// The server's answer to a POST, as JSON; asks again while it is busy.
async function post(path, body, signal = null) {
  const request = {method: "POST", body, signal};
  for (let k = 1; ; k++) {
    const response = await fetch(path, request).catch(() => {
      throw new Error("The server cannot be reached: is it still running?");
    });
    if (response.ok) return response.json();
    const {error} = await response.json().catch(() => ({
      error: {message: `The server failed (${response.status}).`}}));
    if (response.status !== 429 || k === TRIES) throw new Error(error.message);
    signal?.throwIfAborted();
    const seconds = +response.headers.get("Retry-After") || 1;
    tell(`The server is busy; trying again in ${seconds} s …`);
    await wait(seconds);
  }
}

// --- heat

function showHeat(distribution) { // null: none
  heat = {distribution, byLevel: new Map()};
  cells = [];
  redraw();
}

function prepareCells() { // before each frame
  if (!heat.distribution) return;
  const level = heatLevel();
  if (!heat.byLevel.has(level)) {
    heat.byLevel.set(level, heatCells(heat.distribution, known, level));
  }
  cells = heat.byLevel.get(level);
}

// --- the start

function useTheme(name) {
  setTheme(name);
  const style = getComputedStyle(document.documentElement);
  for (const who of ["machine", "person"]) {
    theme[who] = style.getPropertyValue(`--${who}`).trim();
  }
  drawLegend(100 * LEAST, 100, true);
  redraw();
}

// Shows the world, and gives what the server says of itself.
async function startMap() {
  data = {columns: [{name: "Probability", unit: "%", values: []}]};
  useTheme(matchMedia("(prefers-color-scheme: dark)").matches
    ? "dark" : "light");
  $("theme").onclick = () => {
    const dark = document.documentElement.dataset.theme === "dark";
    useTheme(dark ? "light" : "dark");
  };
  beforeDraw = prepareCells;
  cellAlpha = 0.78;
  listenToPointers();
  listenToMapKeys();
  new ResizeObserver(redraw).observe(room); // labels keep clear of it
  resize();
  home();
  const [model, world] = await Promise.all(
    ["/api/model", "/api/world"].map((path) =>
      fetch(path).then((response) => response.json())));
  known = model.cells.map(S2.cell);
  deepest = Math.max(...known.map(({level}) => level));
  takeWorld(world);
  $("credits").textContent = world.credits;
  redraw();
  return model;
}

function run(page) { // a page's own start
  page().then(() => (document.body.dataset.ready = "")).catch((error) => {
    tell(`The page cannot start: ${error.message}`, true);
    throw error;
  });
}

"use strict";
// Taking photos, asking the server about them, albums, and the page's start.

const TRIES = 5; // of a request that the server is too busy for
let limits = {};
let shots = []; // {name, url, error, photo, album}: what was sent and answered
let current = 0;
let heat = new Map(); // cells by level, of what is shown

const tell = (message) => ($("message").textContent = message);
const wait = (seconds) =>
  new Promise((done) => setTimeout(done, 1000 * seconds));

function pickAt(px, py) {
  if (!shown) return;
  const place = S2.locate(...toPlace(...fromScreen(px, py)));
  const cell = cells.find((c) => S2.contains(c, place));
  tell(cell ? `${percent(cell.values[0] / 100)} in the cell ${cell.token}, ` +
    `some ${kmText(widthOf(cell))} wide.` : "Hardly any probability there.");
}

// --- asking

async function take(files) {
  if (!files.length || document.body.classList.contains("busy")) return;
  clear();
  if (files.length > limits.photos) {
    return refuse("", `${files.length} photos are too many: an album here ` +
      `has ${limits.photos} at most.`);
  }
  const good = files.filter((file) => !tooLarge(file));
  if (!good.length) return;
  if (good.reduce((sum, file) => sum + file.size, 0) > limits.request_bytes) {
    return refuse("", "Together they are too large: send fewer at a time, up to " +
      `${limits.request_bytes / 1e6} MB.`);
  }
  document.body.classList.add("busy");
  try {
    await ask(good);
  } catch (error) {
    refuse("", error.message);
  } finally {
    document.body.classList.remove("busy");
  }
}

function clear() {
  for (const {url} of shots) URL.revokeObjectURL(url);
  shots = [];
  shown = selected = null;
  heat = new Map();
  cells = [];
  pins = {places: [], circles: [], truth: null, track: []};
  for (const id of ["strip", "result", "legend"]) $(id).hidden = true;
  $("errors").replaceChildren();
  tell("");
  redraw();
}

function refuse(name, message) {
  tell("");
  $("errors").append(make("li", name ? `${name}: ${message}` : message));
}

function tooLarge(file) {
  if (file.size <= limits.bytes) return false;
  refuse(file.name, `it has ${Math.round(file.size / 1e6)} MB, and ` +
    `${limits.bytes / 1e6} MB is the limit: send a smaller copy.`);
  return true;
}

async function ask(files) {
  const what = files.length > 1 ? `${files.length} photos` : "The photo";
  tell(`${what} ${files.length > 1 ? "are" : "is"} being located …`);
  const found = await located(files);
  shots = files.map((file, k) => ({
    name: file.name, url: URL.createObjectURL(file),
    photo: found.photos[k], album: found.album?.photos[k] ?? null}));
  for (const {name, photo} of shots) {
    if (photo.error) refuse(name, photo.error.message);
  }
  shots = shots.filter(({photo}) => photo.answer);
  tell("");
  showStrip(found.album?.how);
  showShot(0);
}

async function located(files) {
  const form = new FormData();
  for (const file of files) form.append("photo", file, file.name);
  for (let k = 1; ; k++) {
    const response = await fetch("/api/locate?distribution=true", {
      method: "POST", body: form}).catch(() => {
      throw new Error("The server cannot be reached: is it still running?");
    });
    if (response.ok) return response.json();
    const {error} = await response.json().catch(() => ({
      error: {message: `The server failed (${response.status}).`}}));
    if (response.status !== 429 || k === TRIES) throw new Error(error.message);
    const seconds = +response.headers.get("Retry-After") || 1;
    tell(`The server is busy; trying again in ${seconds} s …`);
    await wait(seconds);
  }
}

// --- showing

function showStrip(how) {
  $("strip").replaceChildren(...shots.map(({name, url}, k) => {
    const image = make("img");
    image.src = url;
    image.alt = name;
    const button = make("button", "", [image]);
    button.onclick = () => showShot(k);
    button.setAttribute("aria-label", shots.length > 1
      ? `Photo ${k + 1} of ${shots.length}: ${name}` : name);
    return button;
  }));
  for (const id of ["strip", "result", "legend"]) $(id).hidden = false;
  $("how").hidden = !how;
  const radio = document.querySelector("#how [value=album]");
  radio.checked = true;
  radio.nextSibling.textContent = how === "average"
    ? " the album: the average of its photos" : " the photo in its album";
}

function showShot(k) {
  current = k;
  [...$("strip").children].forEach((button, i) =>
    button.setAttribute("aria-pressed", i === k));
  $("strip").children[k].scrollIntoView({block: "nearest", inline: "nearest"});
  const alone = document.querySelector("#how [value=alone]").checked;
  const answerOf = (shot) => alone ? shot.photo : shot.album ?? shot.photo;
  const {photo} = shots[k];
  heat = new Map();
  cells = [];
  showAnswer(answerOf(shots[k]), photo.taken);
  pins.track = shots.length > 1
    ? shots.map((shot) => placeOf(answerOf(shot).answer.cells[0])) : [];
  const {answer} = answerOf(shots[k]);
  look(placeOf(answer.cells[0]), Math.min(4000, answer.radius_km["50%"]));
}

function prepareCells() { // before each frame
  if (!shown) return;
  const level = heatLevel();
  if (!heat.has(level)) {
    heat.set(level, heatCells(shown.distribution, known, level));
  }
  cells = heat.get(level);
}

// --- input

function listen() {
  const dragged = (event) => event.dataTransfer?.types.includes("Files");
  $("choose").onclick = () => $("files").click();
  $("files").onchange = () => {
    take([...$("files").files]);
    $("files").value = "";
  };
  document.addEventListener("dragover", (event) => {
    if (!dragged(event)) return;
    event.preventDefault();
    $("veil").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("veil").hidden = true;
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("veil").hidden = true;
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) =>
    take([...event.clipboardData.files]));
  document.addEventListener("keydown", (event) => {
    const step = {n: 1, p: -1}[event.key];
    if (!step || event.ctrlKey || event.metaKey || shots.length < 2) return;
    showShot((current + step + shots.length) % shots.length);
  });
  for (const radio of document.querySelectorAll("#how input")) {
    radio.onchange = () => showShot(current);
  }
  $("level").oninput = showLevel;
  $("show-truth").onchange = markTruth;
  $("theme").onclick = () => {
    const dark = document.documentElement.dataset.theme === "dark";
    useTheme(dark ? "light" : "dark");
  };
}

function useTheme(name) {
  setTheme(name);
  drawLegend(100 * LEAST, 100, true);
  redraw();
}

async function begin() {
  data = {columns: [{name: "Probability", unit: "%", values: []}]};
  useTheme(matchMedia("(prefers-color-scheme: dark)").matches
    ? "dark" : "light");
  beforeDraw = prepareCells;
  cellAlpha = 0.78;
  listenToPointers();
  listenToMapKeys();
  listen();
  resize();
  home();
  const [model, world] = await Promise.all(
    ["/api/model", "/api/world"].map((path) =>
      fetch(path).then((response) => response.json())));
  limits = model.limits;
  known = model.cells.map(S2.cell);
  deepest = Math.max(...known.map(({level}) => level));
  takeWorld(world);
  $("credits").textContent = world.credits;
  $("limit").hidden = !model.min_cell_km;
  $("limit").textContent = "This server says no more than a cell at least " +
    `${model.min_cell_km} km wide.`;
  redraw();
  document.body.dataset.ready = "";
}

begin().catch((error) => {
  tell(`The page cannot start: ${error.message}`);
  throw error;
});

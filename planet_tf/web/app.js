"use strict";
// Taking photos, asking the server about them, albums, and the page's start.

let limits = {};
let shots = []; // {name, url, error, photo, album}: what was sent and answered
let current = 0;
let asking = new AbortController(); // of the last request

function pickAt(px, py) {
  if (!shown) return;
  const place = S2.locate(...toPlace(...fromScreen(px, py)));
  const cell = cells.find((c) => S2.contains(c, place));
  tell(cell ? `${percent(cell.values[0] / 100)} in the cell ${cell.token}, ` +
    `some ${kmText(widthOf(cell))} wide.` : "Hardly any probability there.");
}

// --- asking

async function take(files) {
  if (!files.length) return;
  asking.abort(); // the latest photos are what is wanted
  const mine = asking = new AbortController();
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
    await ask(good, mine.signal);
  } catch (error) {
    const name = good.length === 1 ? good[0].name : "";
    if (mine === asking) refuse(name, error.message);
  } finally {
    if (mine === asking) document.body.classList.remove("busy");
  }
}

function clear() {
  for (const {url} of shots) URL.revokeObjectURL(url);
  shots = [];
  shown = selected = null;
  showHeat(null);
  pins = {places: [], circles: [], truth: null, track: []};
  for (const id of ["strip", "result", "legend"]) $(id).hidden = true;
  document.body.classList.remove("busy");
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

async function ask(files, signal) {
  const what = files.length > 1 ? `${files.length} photos` : "The photo";
  tell(`${what} ${files.length > 1 ? "are" : "is"} being located …`);
  const found = await located(files, signal);
  tell("");
  files.forEach((file, k) => {
    const photo = found.photos[k], album = found.album?.photos[k] ?? null;
    if (photo.error) return refuse(file.name, photo.error.message);
    const url = URL.createObjectURL(file);
    shots.push({name: file.name, url, photo, album});
  });
  showStrip(found.album?.how);
  showShot(0);
}

function located(files, signal) {
  const form = new FormData();
  for (const file of files) form.append("photo", file, file.name);
  return post("/api/locate?distribution=true", form, signal);
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
  $("choose").textContent = "Other photos";
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
  showHeat(answerOf(shots[k]).distribution);
  showAnswer(answerOf(shots[k]), photo.taken);
  say((shots.length > 1 ? `Photo ${k + 1} of ${shots.length}: ` : "") +
    ["headline", "within", "reach", "truth"].filter((id) => !$(id).hidden)
      .map((id) => $(id).textContent).join(" "));
  pins.track = shots.length > 1
    ? shots.map((shot) => placeOf(answerOf(shot).answer.cells[0])) : [];
  const {answer} = answerOf(shots[k]);
  look(placeOf(answer.cells[0]), Math.min(4000, answer.radius_km["50%"]));
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
}

run(async () => {
  listen();
  const model = await startMap();
  limits = model.limits;
  $("play").hidden = !model.game.playable;
  $("limit").hidden = !model.min_cell_km;
  $("limit").textContent = "This server says no more than a cell at least " +
    `${model.min_cell_km} km wide.`;
});

"use strict";
// An album's track: a line through the answers for its photos in their order,
// and a dot for each distinct answer. Its x is continuous: the line goes the
// short way from each photo to the next, across the antimeridian too.

const PICK_PIXELS = 12; // from a dot
const FIT_ZOOM = 11; // the nearest that a track is shown at the start
let track = []; // the points [x, y] of the answers
let dotsOfTrack = []; // {x, y, photos, outliers, radius}, the first to be
// labelled first
let photo = null; // the position of the selected one

const nearTo = ([x], place) => { // a point, the short way from another one
  const [px, y] = toWorld(...place);
  return [px + Math.round(x - px), y];
};

function startTrack() {
  const hidden = !data.track.length;
  for (const id of ["track", "fit", "marks"]) $(id).hidden = hidden;
  if (hidden) return;
  for (const key of ["outlier", "truth"]) { // of which there may be none
    const none = !data.track.some((facts) => facts[key]);
    document.querySelector(`#marks .${key}`).hidden = none;
  }
  const dots = new Map();
  let before = [0.5];
  data.track.forEach(({album, outlier}, k) => {
    track.push(before = nearTo(before, album.place));
    const key = album.place.join();
    if (!dots.has(key)) {
      dots.set(key, {x: before[0], y: before[1], photos: [], outliers: []});
    }
    dots.get(key).photos.push(k);
    if (outlier) dots.get(key).outliers.push(k);
  });
  dotsOfTrack = [...dots.values()];
  sortDots();
  listenToTrack();
  leavePhoto();
  fitTrack();
}

// The ends first, then outliers, then the others in an order that has early
// and late ones everywhere.
function sortDots() {
  const last = track.length - 1;
  dotsOfTrack.forEach((dot, k) => {
    const end = dot.photos[0] === 0 || dot.photos.at(-1) === last;
    dot.rank = end ? 0 : dot.outliers.length ? 1 : 2 + k * 0.618 % 1;
    dot.radius = Math.min(9, 4.5 + Math.log2(dot.photos.length));
  });
  dotsOfTrack.sort((a, b) => a.rank - b.rank);
}

// Positions as people count, such as "1-3, 7, …".
function numbersText(positions, most = 3) {
  const runs = [];
  for (const k of positions) {
    if (runs.length && runs.at(-1)[1] === k) runs.at(-1)[1]++;
    else runs.push([k + 1, k + 1]);
  }
  const texts = runs.slice(0, most).map(([a, b]) => a === b ? a : `${a}-${b}`);
  return [...texts, ...runs.length > most ? ["…"] : []].join(", ");
}

function fitTrack() {
  const points = [...track];
  data.track.forEach(({truth}, k) => {
    if (truth) points.push(nearTo(track[k], truth));
  });
  const [west, north, east, south] = bounds(points.flat());
  // What the boxes at the sides leave free, if that is enough.
  const wide = view.width > 900;
  const left = wide ? 340 : 40, right = wide ? 380 : 60;
  const room = view.width - left - right;
  const zoom = Math.log2(Math.min(
    room / Math.min(1, east - west), (view.height - 160) / (south - north)));
  const nearest = Math.min(FIT_ZOOM, zoom - Math.log2(TILE));
  const shift = (right - left) / 2 / (TILE * 2 ** nearest);
  moveTo((west + east) / 2 + shift, (north + south) / 2, nearest);
}

// The boxes of the dots' numbers: [text, x, y, ink].
function placeNumbers(taken) {
  const numbers = [], limit = view.width * view.height / 22000;
  context.font = "600 12px system-ui, sans-serif";
  for (const {x, y, photos, outliers, radius} of dotsOfTrack) {
    if (numbers.length > limit) break;
    const string = numbersText(photos), gap = radius + 4;
    for (const turn of turns([x, y, x, y])) {
      const [px, py] = toScreen(x + turn, y);
      const width = context.measureText(string).width;
      for (const left of [px + gap, px - gap - width]) {
        if (!taken.take(left - 2, py - 8, left + width + 2, py + 8)) continue;
        const ink = outliers.length ? theme.accent : theme.track;
        numbers.push([string, left, py + 4, ink]);
        break;
      }
    }
  }
  return numbers;
}

function drawTrack(numbers) {
  const line = new Path2D();
  for (let k = 1; k < track.length; k++) addJoin(line, track[k - 1], track[k]);
  strokeTwice(line, theme.track, 2.5);
  if (photo !== null) drawPhoto();
  for (const dot of [...dotsOfTrack].reverse()) drawDot(dot);
  context.textAlign = "left";
  for (const [string, x, y, ink] of numbers) {
    text(string, x, y, "600 12px system-ui, sans-serif", ink);
  }
}

function strokeTwice(path, colour, width, dash = []) { // with a halo
  context.lineCap = "round";
  context.strokeStyle = theme.halo;
  context.lineWidth = width + 2.5;
  context.stroke(path);
  context.setLineDash(dash);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
  context.setLineDash([]);
}

function drawDot({x, y, photos, outliers, radius}) {
  for (const turn of turns([x, y, x, y])) {
    const [px, py] = toScreen(x + turn, y);
    const disc = (reach, colour) => {
      context.beginPath();
      context.arc(px, py, reach, 0, 7);
      context.fillStyle = colour;
      context.fill();
    };
    if (photos.includes(photo)) {
      disc(radius + 8, theme.halo);
      disc(radius + 6.5, theme.text);
    }
    const ring = outliers.length ? 2.5 : 0;
    disc(radius + ring + 1.2, theme.halo);
    disc(radius + ring, theme.accent);
    disc(radius, theme.track);
  }
}

// The selected photo's own answer, and the truth, joined to the album's answer.
function drawPhoto() {
  const {album, single, truth} = data.track[photo];
  if (single.place.join() !== album.place.join()) {
    drawJoined(nearTo(track[photo], single.place), theme.track, (path, x, y) => {
      path.moveTo(x + 6, y);
      path.arc(x, y, 6, 0, 7);
    });
  }
  if (!truth) return;
  drawJoined(nearTo(track[photo], truth), theme.true, (path, x, y) => {
    for (const side of [-6, 6]) {
      path.moveTo(x - side, y - 6);
      path.lineTo(x + side, y + 6);
    }
  });
}

function drawJoined(at, colour, addMark) {
  const join = new Path2D(), sign = new Path2D();
  addJoin(join, track[photo], at);
  strokeTwice(join, colour, 1.5, [2, 5]);
  eachOnScreen(at, (x, y) => addMark(sign, x, y));
  strokeTwice(sign, colour, 2);
}

function eachOnScreen([x, y], add) {
  for (const turn of turns([x, y, x, y])) add(...toScreen(x + turn, y));
}

// Adds a straight line between points of the world, as far as it is seen.
function addJoin(path, a, b) {
  for (const turn of turns(bounds([...a, ...b]))) {
    const ends = cutLine(
      toScreen(a[0] + turn, a[1]), toScreen(b[0] + turn, b[1]));
    if (!ends) continue;
    path.moveTo(...ends[0]);
    path.lineTo(...ends[1]);
  }
}

// The part of a line in the view (Liang and Barsky); null for none.
function cutLine(a, b, margin = 30) {
  let from = 0, to = 1;
  [view.width, view.height].forEach((size, axis) => {
    const step = b[axis] - a[axis];
    const [enter, leave] = [-margin, size + margin].map((limit) =>
      (limit - a[axis]) / (step || 1e-9)).sort((p, q) => p - q);
    from = Math.max(from, enter);
    to = Math.min(to, leave);
  });
  const at = (share) => a.map((v, k) => v + share * (b[k] - v));
  return from < to ? [at(from), at(to)] : null;
}

// The photo of the dot at a point of the screen, null for none. Of a dot of
// several photos it is the one after the selected one.
function photoAt(px, py) {
  let found = null, least = PICK_PIXELS;
  for (const {x, y, photos} of dotsOfTrack) {
    eachOnScreen([x, y], (sx, sy) => {
      const away = Math.hypot(sx - px, sy - py);
      if (away >= least) return;
      least = away;
      found = photos[(photos.indexOf(photo) + 1) % photos.length];
    });
  }
  return found;
}

function showPhoto(k) {
  const {name, outlier, jpeg} = data.track[k];
  photo = k;
  mark = null;
  selected = cells.find((c) => c.token === data.track[k].album.token) ?? null;
  $("panel").hidden = false;
  $("place").textContent = `${k + 1}. ${name}`;
  $("picture").hidden = !jpeg;
  $("picture").alt = name;
  if (jpeg) $("picture").setAttribute("src", `data:image/jpeg;base64,${jpeg}`);
  $("remark").hidden = !outlier;
  $("remark").textContent = outlier
    ? "Outlier: the photo alone is sure to be far from the album's answer." : "";
  listFacts(photoFacts(data.track[k]), selected);
  showPosition();
  if (isHidden(track[k])) moveToFree(track[k]);
  redraw();
}

function photoFacts({time, album, single, apart, truth, error}) {
  const answer = ({place, probability}) =>
    `${placeText(...place, 3)} (${number.format(100 * probability)}\u00a0%)`;
  const km = (value) => `${number.format(value)} km`;
  const facts = [["Album's answer", answer(album)], ["Cell", album.token]];
  if (time) facts.unshift(["Time", time]);
  if (selected?.name) facts.push(["Place", selected.name]);
  facts.push(["Photo alone", answer(single)], ["Apart", km(apart)]);
  if (truth) facts.push(["Truth", placeText(...truth)], ["Error", km(error)]);
  return facts;
}

function isHidden([x, y]) { // outside the view, or below a box
  let hidden = true;
  eachOnScreen([x, y], (px, py) => {
    hidden &&= px < 0 || py < 0 || px > view.width || py > view.height ||
      document.elementFromPoint(px, py) !== canvas;
  });
  return hidden;
}

// Moves a point to the middle of what the boxes leave free.
function moveToFree([x, y]) {
  const head = document.querySelector("header").getBoundingClientRect();
  const panel = $("panel").getBoundingClientRect();
  const below = panel.top > head.bottom; // as on narrow screens
  const px = below ? view.width / 2 : (head.right + panel.left) / 2;
  const py = below ? (head.bottom + panel.top) / 2 : view.height / 2;
  moveTo(
    x + (view.width / 2 - px) / scale(), y + (view.height / 2 - py) / scale(),
    view.zoom);
}

function leavePhoto() {
  photo = null;
  for (const id of ["picture", "remark"]) $(id).hidden = true;
  if (track.length) showPosition();
}

function showPosition() {
  const count = track.length;
  $("position-in-track").max = count;
  $("position-in-track").value = (photo ?? 0) + 1;
  $("previous").disabled = photo === null || photo === 0;
  $("next").disabled = photo === count - 1;
  $("count").textContent =
    photo === null ? `${count} photo${count > 1 ? "s" : ""}`
      : `${photo + 1} of ${count}`;
}

function step(by) {
  const k = photo === null ? 0 : photo + by;
  if (k >= 0 && k < track.length) showPhoto(k);
}

function listenToTrack() {
  $("previous").onclick = () => step(-1);
  $("next").onclick = () => step(1);
  $("fit").onclick = fitTrack;
  $("position-in-track").oninput = (event) => showPhoto(event.target.value - 1);
  const keys = {n: () => step(1), p: () => step(-1), f: fitTrack};
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("select, [type=search]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    keys[event.key]?.();
  });
}

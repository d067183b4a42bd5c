"use strict";
// Drawing a view: land, cells, labels.

function redraw() {
  if (!pending) requestAnimationFrame(draw);
  pending = true;
}

function draw() {
  pending = false;
  beforeDraw();
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.fillStyle = theme.sea;
  context.fillRect(0, 0, view.width, view.height);
  context.lineJoin = "round";
  const coast = fillLand();
  const large = drawCells();
  context.strokeStyle = theme.coast;
  context.lineWidth = 0.7;
  context.stroke(coast);
  drawBorders();
  const taken = takenBoxes();
  const numbers = placeNumbers(taken);
  labelCells(large, taken);
  drawMarks();
  drawTrack(numbers);
  labelPoints(taken);
  drawScale();
}

// By how many turns a thing is shifted to be seen: the world has no end.
function turns([west, north, east, south]) {
  const [x0, y0] = fromScreen(0, 0);
  const [x1, y1] = fromScreen(view.width, view.height);
  const found = [];
  if (south < y0 || north > y1) return found;
  for (let k = Math.ceil(x0 - east); k <= x1 - west; k++) found.push(k);
  return found;
}

// A ring as it is seen. Canvas coordinates are good to seven figures: what is
// far outside has to be cut off.
function onScreen(ring, turn) {
  const f = scale();
  const dx = view.width / 2 - (view.x - turn) * f;
  const dy = view.height / 2 - view.y * f;
  const screen = [];
  let px = NaN, py = NaN, far = false;
  for (let k = 0; k < ring.length; k += 2) {
    const x = ring[k] * f + dx, y = ring[k + 1] * f + dy;
    if (Math.abs(x - px) + Math.abs(y - py) < 0.7) continue;
    far ||= Math.abs(x) > 1e4 || Math.abs(y) > 1e4;
    screen.push(px = x, py = y);
  }
  return far ? clip(screen) : screen;
}

// Adds a closed line. Path2D.closePath takes longer the longer the path is.
function addTo(path, screen) {
  if (!screen.length) return;
  path.moveTo(screen[0], screen[1]);
  for (let k = 2; k < screen.length; k += 2) {
    path.lineTo(screen[k], screen[k + 1]);
  }
  path.lineTo(screen[0], screen[1]);
}

// A polygon cut at the edges of the view (Sutherland and Hodgman).
function clip(ring, margin = 30) {
  const sides = [
    [0, -margin, 1], [0, view.width + margin, -1],
    [1, -margin, 1], [1, view.height + margin, -1]];
  for (const [axis, limit, sign] of sides) {
    const kept = [];
    let a = ring.slice(-2), aIn = sign * (a[axis] - limit) >= 0;
    for (let k = 0; k < ring.length; k += 2) {
      const b = [ring[k], ring[k + 1]];
      const bIn = sign * (b[axis] - limit) >= 0;
      if (aIn !== bIn) {
        const share = (limit - a[axis]) / (b[axis] - a[axis]);
        kept.push(...along(a, b, share));
      }
      if (bIn) kept.push(...b);
      a = b;
      aIn = bIn;
    }
    ring = kept;
  }
  return ring;
}

function fillLand() {
  const coast = new Path2D();
  for (const [kind, colour] of [[0, "land"], [1, "sea"], [2, "land"]]) {
    const path = new Path2D();
    for (const {ring, box, lines} of land[kind]) {
      for (const turn of turns(box)) {
        addTo(path, onScreen(ring, turn));
        for (const line of lines) traceLine(coast, line, turn);
      }
    }
    context.fillStyle = theme[colour];
    context.fill(path);
  }
  return coast;
}

function drawBorders() {
  const path = new Path2D();
  for (const {line, box} of borders) {
    for (const turn of turns(box)) traceLine(path, line, turn);
  }
  context.lineWidth = 0.5;
  context.stroke(path);
}

// Adds an open line, of it what is in the view.
function traceLine(path, line, turn) {
  const f = scale();
  const dx = view.width / 2 - (view.x - turn) * f;
  const dy = view.height / 2 - view.y * f;
  let px = line[0] * f + dx, py = line[1] * f + dy, down = false;
  for (let k = 2; k < line.length; k += 2) {
    const x = line[k] * f + dx, y = line[k + 1] * f + dy;
    const last = k + 2 >= line.length;
    if (!last && Math.abs(x - px) + Math.abs(y - py) < 0.7) continue;
    const seen = Math.max(x, px) > 0 && Math.min(x, px) < view.width &&
      Math.max(y, py) > 0 && Math.min(y, py) < view.height;
    if (seen && !down) path.moveTo(px, py);
    if (seen) path.lineTo(x, y);
    down = seen;
    px = x;
    py = y;
  }
}

// Fills all cells; returns those with room for a label, as seen.
function drawCells() {
  const f = scale();
  const fills = Array.from({length: BINS + 1}, () => new Path2D());
  const used = new Set(), borders = new Path2D(), large = [];
  const specks = new Specks();
  drawn = 0;
  const [left, above] = fromScreen(0, 0);
  const [right, below] = fromScreen(view.width, view.height);
  for (const cell of cells) {
    const [west, north, east, south] = cell.box;
    // Most are far away: this is `turns` without its list.
    if (south < above || north > below ||
      Math.ceil(left - east) > right - west) continue;
    const size = Math.max(east - west, south - north) * f;
    for (const turn of turns(cell.box)) {
      drawn++;
      if (size < SPECK_PIXELS) {
        specks.add(...toScreen((west + east) / 2 + turn, (north + south) / 2),
          cell.bin);
        continue;
      }
      const ring = isCurved(cell, size) ? exactRing(cell) : cell.ring;
      const screen = onScreen(ring, turn);
      addTo(fills[cell.bin], screen);
      used.add(cell.bin);
      if (size > BORDER_PIXELS) addTo(borders, screen);
      if (size > LABEL_PIXELS && screen.length) large.push({cell, screen});
    }
  }
  context.globalAlpha = cellAlpha;
  specks.draw();
  for (let bin = 0; bin <= BINS; bin++) {
    if (!used.has(bin)) continue;
    context.fillStyle = context.strokeStyle = theme.colours[bin];
    context.fill(fills[bin]);
    context.lineWidth = 0.5; // or neighbours would show a gap
    if (cellAlpha === 1) context.stroke(fills[bin]);
  }
  specks.draw(); // once more: towns are above the country around them
  context.globalAlpha = 1;
  context.strokeStyle = theme.border;
  context.lineWidth = 1;
  context.stroke(borders);
  return large;
}

// Squares for cells that are too small to be seen, each with its best bin.
class Specks {
  constructor() {
    this.columns = Math.ceil(view.width / SPECK_PIXELS);
    this.bins = new Map();
  }

  add(x, y, bin) {
    const i = Math.floor(x / SPECK_PIXELS), j = Math.floor(y / SPECK_PIXELS);
    if (i < 0 || j < 0 || i >= this.columns) return;
    const at = j * this.columns + i;
    const rank = bin === BINS ? -1 : bin; // "unknown" is below all
    if (rank > (this.bins.get(at) ?? -2)) this.bins.set(at, rank);
  }

  draw() {
    for (const [at, rank] of this.bins) {
      context.fillStyle = theme.colours[rank < 0 ? BINS : rank];
      context.fillRect(
        at % this.columns * SPECK_PIXELS,
        Math.floor(at / this.columns) * SPECK_PIXELS,
        SPECK_PIXELS, SPECK_PIXELS);
    }
  }
}

// Whether the ring made at the start is too rough for an edge that is `size`
// pixels long: a great circle differs from a straight line on the map.
function isCurved({level, box}, size) {
  const step = size / steps(level);
  const latitude = Math.max(Math.abs(box[1] - 0.5), Math.abs(box[3] - 0.5));
  const bend = Math.PI / 4 * step * step / scale();
  return level < 2 || bend * Math.sinh(2 * Math.PI * latitude) > 0.3;
}

// The outline of a cell as curved as the present zoom shows it.
function exactRing(cell) {
  const f = scale(), half = [view.width / f, view.height / f];
  const vectors = [];
  const flat = (p) => toWorld(...S2.toDegrees(p));
  const split = (a, b, depth) => {
    const middle = along(a, b, 0.5).map((v, k, m) => v / Math.hypot(...m));
    if (depth < 16 && !isPole(a) && !isPole(b) && !isPole(middle)) {
      const [p, q, m] = [flat(a), flat(b), flat(middle)];
      for (const r of [q, m]) r[0] += Math.round(p[0] - r[0]);
      const error = Math.max(...m.map((v, k) => Math.abs(v - (p[k] + q[k]) / 2)));
      const offset = view.x - p[0] - Math.round(view.x - p[0]);
      const near = [offset + p[0], view.y].every((v, k) =>
        v + half[k] > Math.min(p[k], q[k]) - error &&
        v - half[k] < Math.max(p[k], q[k]) + error);
      if (error * f > 0.3 && (near || depth < 5)) {
        split(a, middle, depth + 1);
        split(middle, b, depth + 1);
        return;
      }
    }
    vectors.push(a);
  };
  const corners = S2.corners(cell).map(unit);
  corners.forEach((a, k) => split(a, corners[(k + 1) % 4], 0));
  return worldRing(vectors);
}

class Boxes { // that labels have taken
  constructor() {
    this.boxes = [];
  }

  take(x0, y0, x1, y1) {
    for (const [a, b, c, d] of this.boxes) {
      if (x0 < c && x1 > a && y0 < d && y1 > b) return false;
    }
    this.boxes.push([x0, y0, x1, y1]);
    return true;
  }
}

function text(string, x, y, font, ink = theme.text, halo = theme.halo) {
  context.font = font;
  context.lineWidth = 3;
  context.strokeStyle = halo;
  context.fillStyle = ink;
  context.strokeText(string, x, y);
  context.fillText(string, x, y);
}

// What can be read on a colour, and a halo around it.
function inkOn(colour) {
  const [red, green, blue] = colour.match(/\d+/g);
  return 0.3 * red + 0.59 * green + 0.11 * blue < 130
    ? ["#ffffff", "rgba(0, 0, 0, 0.45)"]
    : ["#101820", "rgba(255, 255, 255, 0.6)"];
}

function takenBoxes() {
  const taken = new Boxes();
  for (const box of document.querySelectorAll(
    "header, main, #panel, #legend, #buttons")) {
    const {left, top, right, bottom} = box.getBoundingClientRect();
    taken.take(left, top, right, bottom);
  }
  return taken;
}

function labelCells(large, taken) {
  context.textAlign = "center";
  for (const {cell, screen} of large) {
    const [west, north, east, south] = bounds(clip(screen, 0));
    const value = valueText(data.columns[column], cell.values[column]);
    context.font = "600 13px system-ui, sans-serif";
    const room = context.measureText(value).width / 2 + 8;
    if (!(east - west > 2 * room && south - north > 44)) continue;
    const x = (west + east) / 2, y = (north + south) / 2;
    if (!taken.take(x - room, y - 16, x + room, y + 18)) continue;
    const colours = inkOn(theme.colours[cell.bin]);
    text(value, x, y - 2, context.font, ...colours);
    text(cell.token, x, y + 13, "11px ui-monospace, monospace", ...colours);
  }
}

function labelPoints(taken) {
  context.textAlign = "left";
  const limit = view.width * view.height / 22000;
  let shown = 0;
  for (const {x, y, name} of points) {
    if (shown > limit) break;
    for (const turn of turns([x, y, x, y])) {
      const [px, py] = toScreen(x + turn, y).map(Math.round);
      const width = 7 * name.length + 10;
      if (px + width > view.width) continue; // it would be cut off
      if (!taken.take(px - 4, py - 9, px + width, py + 9)) continue;
      shown++;
      context.beginPath();
      context.arc(px, py, 2.5, 0, 7);
      context.fillStyle = theme.text;
      context.strokeStyle = theme.halo;
      context.lineWidth = 1.5;
      context.stroke();
      context.fill();
      text(name, px + 6, py + 4, "12px system-ui, sans-serif");
    }
  }
}

function drawMarks() {
  if (selected) {
    for (const turn of turns(selected.box)) {
      const path = new Path2D();
      addTo(path, onScreen(exactRing(selected), turn));
      context.strokeStyle = theme.accent;
      context.lineWidth = 3;
      context.stroke(path);
      for (const [lat, lng, radius] of dots()) {
        const [x, y] = toWorld(lat, lng);
        const [px, py] = toScreen(x + Math.round(selected.box[0] - x) + turn, y);
        context.beginPath();
        context.arc(px, py, radius, 0, 7);
        context.lineWidth = 2;
        context.stroke();
      }
    }
  }
  if (document.activeElement === canvas && canvas.matches(":focus-visible")) {
    drawAim(...freeMiddle());
  }
}

// What Enter picks.
function drawAim(x, y) {
  const path = new Path2D();
  path.rect(x - 7, y - 7, 14, 14);
  for (const side of [-1, 1]) {
    path.moveTo(x + 7 * side, y);
    path.lineTo(x + 14 * side, y);
    path.moveTo(x, y + 7 * side);
    path.lineTo(x, y + 14 * side);
  }
  for (const [width, ink] of [[5, theme.halo], [2, theme.accent]]) {
    context.lineWidth = width;
    context.strokeStyle = ink;
    context.stroke(path);
  }
}

// What is marked with the selected cell: its point, and what was searched.
function dots() {
  const found = selected.point ? [[...selected.point, 4]] : [];
  return mark ? [...found, [...mark, 8]] : found;
}

function drawScale() {
  const [lat, lng] = toPlace(...fromScreen(...freeMiddle()));
  const metres = 40030228.9 * Math.cos(lat * Math.PI / 180) / scale();
  const most = 130 * metres, power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].find((k) => k * power <= most) * power;
  $("scale").style.width = `${length / metres}px`;
  $("scale").firstChild.textContent =
    length >= 1000 ? `${length / 1000} km` : `${+length.toFixed(2)} m`;
  $("position").textContent =
    `${placeText(lat, lng)}, zoom ${view.zoom.toFixed(1)}`;
}

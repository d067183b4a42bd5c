"use strict";
// Shapes on the map, by their places: circles, lines, dots and pins.

const EARTH_KM = 6371.0088;

const radians = (degrees) => degrees * Math.PI / 180;

// Great-circle km between two places.
function distance([lat1, lng1], [lat2, lng2]) {
  const s1 = Math.sin(radians(lat2 - lat1) / 2);
  const s2 = Math.sin(radians(lng2 - lng1) / 2);
  const h = s1 * s1 +
    Math.cos(radians(lat1)) * Math.cos(radians(lat2)) * s2 * s2;
  return 2 * EARTH_KM * Math.asin(Math.min(1, Math.sqrt(h)));
}

// The places (lat, lng) that are so many km away.
function circle([lat, lng], km, count = 180) {
  const d = Math.min(km / EARTH_KM, Math.PI), a = radians(lat);
  return Array.from({length: count}, (_, k) => {
    const turn = 2 * Math.PI * k / count;
    const sine = Math.sin(a) * Math.cos(d) +
      Math.cos(a) * Math.sin(d) * Math.cos(turn);
    const east = Math.atan2(Math.sin(turn) * Math.sin(d) * Math.cos(a),
      Math.cos(d) - Math.sin(a) * sine);
    return [Math.asin(Math.max(-1, Math.min(1, sine))) * 180 / Math.PI,
      lng + east * 180 / Math.PI];
  });
}

// x in the middle of the free map: lines begin in the turn of the world there.
const middleX = () => view.x + freeMap().dx / scale();

function drawCircle(place, km) {
  const path = new Path2D();
  let before = null;
  for (const [lat, lng] of [...circle(place, km), circle(place, km, 1)[0]]) {
    let [x, y] = toWorld(lat, lng);
    x += Math.round((before ?? middleX()) - x);
    const jumps = before !== null && Math.abs(x - before) > 0.25;
    before = x;
    const [px, py] = toScreen(x, y);
    if (jumps) path.moveTo(px, py);
    else path.lineTo(px, py);
  }
  context.setLineDash([6, 4]);
  stroke(path, theme.text, 1.2);
  context.setLineDash([]);
}

function drawLine(places, dash = [], colour = theme.machine) {
  const path = new Path2D();
  for (const turn of [-1, 0, 1]) { // the world has no end
    let before = null;
    for (const [lat, lng] of places) {
      let [x, y] = toWorld(lat, lng);
      x += before === null ? turn + Math.round(middleX() - x)
        : Math.round(before - x);
      const start = before === null;
      before = x;
      if (start) path.moveTo(...toScreen(x, y));
      else path.lineTo(...toScreen(x, y));
    }
  }
  context.setLineDash(dash);
  stroke(path, colour, 2);
  context.setLineDash([]);
}

function stroke(path, colour, width) {
  context.lineWidth = width + 2;
  context.strokeStyle = theme.halo;
  context.stroke(path);
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke(path);
}

// Calls back with where a place is on the screen, wherever it is seen.
function whereSeen([lat, lng], draw) {
  const [x, y] = toWorld(lat, lng);
  for (const turn of turns([x, y, x, y])) draw(...toScreen(x + turn, y));
}

function drawDot(place, radius, colour, number = "") {
  whereSeen(place, (px, py) => {
    context.beginPath();
    context.arc(px, py, radius, 0, 7);
    context.fillStyle = colour;
    context.strokeStyle = "#ffffff";
    context.lineWidth = 2;
    context.fill();
    context.stroke();
    context.font = "700 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillStyle = "#ffffff";
    context.fillText(number, px, py + 4);
  });
}

function drawPin(place) { // its tip is there
  whereSeen(place, (px, py) => {
    const path = new Path2D();
    path.moveTo(px, py);
    path.arc(px, py - 19, 9, 0.85 * Math.PI, 0.15 * Math.PI);
    path.closePath();
    stroke(path, theme.true, 1.5);
    context.fillStyle = theme.true;
    context.fill(path);
    context.beginPath();
    context.arc(px, py - 19, 3.5, 0, 7);
    context.fillStyle = theme.halo;
    context.fill();
  });
}

// Keeps the names of towns away from dots and pins.
function keepClear(taken, places) {
  for (const place of places) {
    whereSeen(place, (px, py) =>
      taken.take(px - 11, py - 30, px + 11, py + 11));
  }
}

"use strict";
// What is drawn above the heat: circles that hold a share of the probability,
// the likeliest places, the truth, and the track of an album. draw.js calls
// drawTrack and placeNumbers.

const EARTH_KM = 6371.0088;
let pins = {places: [], circles: [], truth: null, track: []};

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

// Keeps the names of towns away from the pins and their numbers.
function placeNumbers(taken) {
  for (const place of [...pins.places, ...pins.truth ? [pins.truth] : []]) {
    const [px, py] = seen(place);
    taken.take(px - 11, py - 27, px + 11, py + 11);
  }
  return [];
}

function drawTrack() {
  for (const {place, km} of pins.circles) drawCircle(place, km);
  drawLine(pins.track);
  if (pins.truth && pins.places.length) {
    drawLine([pins.places[0], pins.truth], [5, 5], theme.true);
  }
  pins.track.forEach((place) => drawDot(place, 4, "#1a4fa0"));
  for (let k = pins.places.length - 1; k >= 0; k--) {
    drawDot(pins.places[k], k ? 5 : 8, "#1a4fa0", k + 1);
  }
  if (pins.truth) drawCross(pins.truth);
}

// Where a place is seen, in the turn of the world nearest to the view's middle.
function seen([lat, lng]) {
  const [x, y] = toWorld(lat, lng);
  return toScreen(x + Math.round(view.x - x), y);
}

function drawCircle(place, km) {
  const path = new Path2D();
  let before = null;
  for (const [lat, lng] of [...circle(place, km), circle(place, km, 1)[0]]) {
    let [x, y] = toWorld(lat, lng);
    if (before === null) x += Math.round(view.x - x);
    else x += Math.round(before - x);
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

function drawLine(places, dash = [], colour = "#1a4fa0") {
  const path = new Path2D();
  let before = null;
  for (const [lat, lng] of places) {
    let [x, y] = toWorld(lat, lng);
    x += Math.round((before ?? view.x) - x);
    before = x;
    path.lineTo(...toScreen(x, y));
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

function drawDot(place, radius, colour, number = "") {
  const [px, py] = seen(place);
  context.beginPath();
  context.arc(px, py, radius, 0, 7);
  context.fillStyle = colour;
  context.strokeStyle = "#ffffff";
  context.lineWidth = 2;
  context.fill();
  context.stroke();
  if (!number) return;
  context.textAlign = "center";
  text(String(number), px, py - radius - 5, "600 12px system-ui, sans-serif");
}

function drawCross(place) {
  const [px, py] = seen(place), r = 7, path = new Path2D();
  path.moveTo(px - r, py - r);
  path.lineTo(px + r, py + r);
  path.moveTo(px + r, py - r);
  path.lineTo(px - r, py + r);
  stroke(path, theme.true, 3);
}

"use strict";
// Shapes on the map, by their places: circles, lines, dots and crosses.

const EARTH_KM = 6371.0088;
const BLUE = "#1a4fa0";

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

// x in the middle of what is seen of the map: turns of the world next to it
// are those that things are drawn in.
const middleX = () => view.x + freeMap().dx / scale();

function seen([lat, lng]) {
  const [x, y] = toWorld(lat, lng);
  return toScreen(x + Math.round(middleX() - x), y);
}

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

function drawLine(places, dash = [], colour = BLUE) {
  const path = new Path2D();
  let before = null;
  for (const [lat, lng] of places) {
    let [x, y] = toWorld(lat, lng);
    x += Math.round((before ?? middleX()) - x);
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

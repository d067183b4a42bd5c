"use strict";
// A distribution over S2 cells as heat: heatCells(distribution, level) sums it
// over the cells of a level, so that it is visible at every zoom.

const LEAST = 1e-4; // a cell with less has the first colour
const HEAT_STEPS = 3; // levels below the zoom: cells of some 6 pixels

// How wide a cell is in km, as of a square of its area: of two triangles.
function widthOf(cell) {
  const [a, b, c, d] = S2.corners(cell).map(unit);
  return 6371.0088 * Math.sqrt(excess(a, b, c) + excess(a, c, d));
}

function excess(a, b, c) { // of a spherical triangle of unit vectors
  const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
  const triple = a[0] * (b[1] * c[2] - b[2] * c[1]) +
    a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
  return 2 * Math.atan2(
    Math.abs(triple), 1 + dot(a, b) + dot(b, c) + dot(c, a));
}

// The token of the ancestor of a cell at a level.
function ancestor(token, level) {
  const id = BigInt(`0x${token.padEnd(16, "0")}`);
  const end = 1n << BigInt(2 * (30 - level));
  const parent = id & ~(2n * end - 1n) | end;
  return parent.toString(16).padStart(16, "0").replace(/0+$/, "");
}

// Sums over the cells of a level: [[token, probability, best]], the most
// probable first, `best` being the position of the most probable cell in it.
// Cells of the model that are larger stay what they are.
function sumsAt(distribution, known, level) {
  const sums = new Map();
  for (const [k, share] of distribution) {
    const cell = known[k];
    const token = cell.level > level ? ancestor(cell.token, level) : cell.token;
    const sum = sums.get(token);
    if (sum) sum[0] += share;
    else sums.set(token, [share, k]);
  }
  return [...sums].map(([token, [share, k]]) => [token, share, k])
    .sort((a, b) => b[1] - a[1]);
}

// A cell that the map can draw.
function drawable(token, share) {
  const cell = S2.cell(token);
  cell.values = [100 * share];
  cell.bin = Math.max(0, Math.min(BINS - 1,
    Math.floor(Math.log(share / LEAST) / Math.log(1 / LEAST) * BINS)));
  cell.ring = staticRing(cell);
  cell.box = bounds(cell.ring);
  return cell;
}

function heatCells(distribution, known, level) {
  return sumsAt(distribution, known, level)
    .filter(([, share]) => share >= LEAST)
    .map(([token, share]) => drawable(token, share));
}

const heatLevel = () =>
  Math.max(0, Math.min(30, Math.round(view.zoom) + HEAT_STEPS));

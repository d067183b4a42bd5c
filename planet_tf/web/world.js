"use strict";
// A map of S2 cells on a canvas: Web Mercator, all of it in this page.
// A point of the world is (x, y) = (0..1 eastward, 0..1 southward between the
// latitudes of 85 degrees); x is one more a turn further east.

const BINS = 32; // colours
const TILE = 256; // pixels of the world's width at zoom 0
const MAX_ZOOM = 21;
const POLE = 89.99; // Mercator never gets to 90
const SPECK_PIXELS = 2; // smaller cells share a square, the highest value wins
const BORDER_PIXELS = 12; // smaller cells have no border of their own
const LABEL_PIXELS = 100;

const $ = (id) => document.getElementById(id);
const canvas = $("canvas");
// CPU raster: browsers without a GPU are ten times slower otherwise.
const context = canvas.getContext("2d", {willReadFrequently: true});
const view = {x: 0.53, y: 0.4, zoom: 1, width: 0, height: 0};
const room = document.querySelector("main"); // the panel on it, if there is one
let data, cells = [], land = [[], [], []], borders = [], points = [];
let column = 0;
let cellAlpha = 1; // how much of the land cells hide
let beforeDraw = () => {}; // called with each frame, before it is drawn
let selected = null, mark = null, drawn = 0, theme = {}, pending = false;

const mercatorY = (lat) => {
  const sine = Math.sin(Math.max(-POLE, Math.min(POLE, lat)) * Math.PI / 180);
  return 0.5 - Math.atanh(sine) / (2 * Math.PI);
};
const TOP = mercatorY(90), BOTTOM = mercatorY(-90);
const toWorld = (lat, lng) => [(lng + 180) / 360, mercatorY(lat)];
const toPlace = (x, y) => [
  Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180 / Math.PI,
  ((x % 1 + 1) % 1) * 360 - 180];
const isPole = ([x, y, z]) => Math.hypot(x, y) < 1e-12 * Math.abs(z);

// The closed line through points on the sphere as [x, y, x, y, ...], with a
// continuous x. A point at a pole becomes an edge along it, and a ring around
// a pole is closed along the pole.
function worldRing(vectors) {
  const start = vectors.findIndex((p) => !isPole(p));
  const ring = [];
  let pole = null, before = null, first = null;
  for (let k = 0; k <= vectors.length; k++) {
    const p = vectors[(start + k) % vectors.length];
    if (isPole(p)) {
      pole = p[2] > 0 ? TOP : BOTTOM;
      continue;
    }
    const [lat, lng] = S2.toDegrees(p);
    let [x, y] = toWorld(lat, lng);
    if (before !== null) x += Math.round(before - x);
    if (pole !== null) ring.push(before, pole, x, pole);
    pole = null;
    before = x;
    first ??= x;
    ring.push(x, y);
  }
  const end = vectors[start][2] > 0 ? TOP : BOTTOM;
  if (Math.abs(before - first) > 0.5) ring.push(before, end, first, end);
  return ring;
}

function along(a, b, share) { // on the great circle through two vectors
  return a.map((value, k) => value * (1 - share) + b[k] * share);
}

const steps = (level) => Math.max(1, 64 >> level); // of an edge, at the start

function staticRing(cell) {
  const count = steps(cell.level);
  const vectors = [];
  S2.corners(cell).map(unit).forEach((a, k, all) => {
    for (let n = 0; n < count; n++) {
      vectors.push(along(a, all[(k + 1) % 4], n / count));
    }
  });
  return Float64Array.from(worldRing(vectors));
}

function unit(p) {
  const length = Math.hypot(...p);
  return p.map((value) => value / length);
}

function bounds(ring) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (let k = 0; k < ring.length; k += 2) {
    box[0] = Math.min(box[0], ring[k]);
    box[1] = Math.min(box[1], ring[k + 1]);
    box[2] = Math.max(box[2], ring[k]);
    box[3] = Math.max(box[3], ring[k + 1]);
  }
  return box;
}

const scale = () => TILE * 2 ** view.zoom;
const toScreen = (x, y) => [
  (x - view.x) * scale() + view.width / 2,
  (y - view.y) * scale() + view.height / 2];
const fromScreen = (x, y) => [
  view.x + (x - view.width / 2) / scale(),
  view.y + (y - view.height / 2) / scale()];

// How far right and down of the view's middle that of the free map is, and how
// wide and high that is, in pixels: the panel lies beside it or below.
function freeMap() {
  const {width, height} = view;
  if (!room) return {dx: 0, dy: 0, width, height};
  const {right, top, width: taken} = room.getBoundingClientRect();
  return taken < width
    ? {dx: right / 2, dy: 0, width: width - right, height}
    : {dx: 0, dy: (top - height) / 2, width, height: top};
}

function freeMiddle() { // on the screen
  const {dx, dy} = freeMap();
  return [view.width / 2 + dx, view.height / 2 + dy];
}

// The world is as wide as the free map, or a little higher.
function leastZoom() {
  const {width, height} = freeMap();
  return Math.log2(Math.min(width, 1.2 * height) / TILE);
}

function moveTo(x, y, zoom) {
  view.zoom = Math.max(leastZoom(), Math.min(MAX_ZOOM, zoom));
  // Near the poles Mercator is endless: they are open to near views only.
  const reach = 0.5 + 0.12 * Math.max(0, view.zoom - 3);
  const {dy, height} = freeMap(), down = dy / scale();
  const half = Math.min(height / 2 / scale(), 0.5);
  const top = Math.max(TOP, 0.5 - reach), bottom = 1 - top;
  view.y = Math.max(top + half, Math.min(bottom - half, y + down)) - down;
  view.x = x - Math.floor(x);
  redraw();
}

function zoomAt(px, py, steps) {
  const [x, y] = fromScreen(px, py);
  const zoom = Math.min(MAX_ZOOM, view.zoom + steps);
  const after = TILE * 2 ** zoom;
  moveTo(
    x - (px - view.width / 2) / after, y - (py - view.height / 2) / after,
    zoom);
}

// The world, or where the map is narrow and high most of it.
function home() {
  const {dx, dy, width, height} = freeMap();
  const size = Math.min(Math.max(width, height), 1.25 * width);
  moveTo(0.53 - dx / size, 0.4 - dy / size, Math.log2(size / TILE));
}

function resize() {
  view.width = window.innerWidth;
  view.height = window.innerHeight;
  canvas.width = Math.round(view.width * devicePixelRatio);
  canvas.height = Math.round(view.height * devicePixelRatio);
  moveTo(view.x, view.y, view.zoom);
}

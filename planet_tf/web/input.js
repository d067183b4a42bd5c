"use strict";
// Pointers and keys of the map, and the world as it comes in pages. What a
// click or Enter picks is up to the page: pickAt(px, py).

function listenToPointers() {
  const down = new Map();
  let moved = 0;
  const middle = () => [0, 1].map((k) =>
    [...down.values()].reduce((sum, p) => sum + p[k], 0) / down.size);
  const spread = () => {
    const [a, b] = [...down.values()];
    return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (!down.size) moved = 0;
    down.set(event.pointerId, [event.clientX, event.clientY]);
    if (down.size > 1) moved = Infinity;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down.has(event.pointerId)) return;
    const [x0, y0] = middle(), before = spread();
    down.set(event.pointerId, [event.clientX, event.clientY]);
    const [x1, y1] = middle(), after = spread();
    moved += Math.abs(x1 - x0) + Math.abs(y1 - y0);
    if (moved < 4) return;
    canvas.classList.add("moving");
    moveTo(
      view.x - (x1 - x0) / scale(), view.y - (y1 - y0) / scale(), view.zoom);
    if (before && after) zoomAt(x1, y1, Math.log2(after / before));
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, (event) => {
      const clicked = down.delete(event.pointerId) && type === "pointerup";
      if (clicked && moved < 4) pickAt(event.clientX, event.clientY);
      if (!down.size) canvas.classList.remove("moving");
    });
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * [1, 30, 300][event.deltaMode];
    const steps = Math.max(-1, Math.min(1, -pixels / 250));
    zoomAt(event.clientX, event.clientY, steps);
  }, {passive: false});
  canvas.addEventListener("dblclick", (event) =>
    zoomAt(event.clientX, event.clientY, 1));
}

// Arrows, plus and minus, Home and Enter on the map, and the buttons beside it.
function listenToMapKeys() {
  const zoom = (steps) => zoomAt(...freeMiddle(), steps);
  const pan = (x, y) => moveTo(
    view.x + x * view.width / 8 / scale(),
    view.y + y * view.height / 8 / scale(), view.zoom);
  const keys = {
    "ArrowLeft": () => pan(-1, 0), "ArrowRight": () => pan(1, 0),
    "ArrowUp": () => pan(0, -1), "ArrowDown": () => pan(0, 1),
    "+": () => zoom(1), "=": () => zoom(1), "-": () => zoom(-1),
    "Home": home, "Enter": () => pickAt(...freeMiddle())};
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const type of ["focus", "blur"]) canvas.addEventListener(type, redraw);
  $("in").onclick = () => zoom(1);
  $("out").onclick = () => zoom(-1);
  $("home").onclick = home;
  window.addEventListener("resize", resize);
}

// Land, borders if there are any, and towns, as web_map.py packs them.
function takeWorld(packed) {
  land = packed.land.map((rings) => rings.map(unpackRing));
  borders = (packed.borders ?? []).map((steps) => {
    const {ring, box} = unpackRing(steps);
    return {line: ring, box};
  });
  points = packed.places.map(([name, lat, lng]) => {
    const [x, y] = toWorld(lat, lng);
    return {name, x, y};
  });
}

function unpackRing(steps) { // hundredths of degrees, each from the last
  const ring = new Float64Array(steps.length), lines = [[]];
  let lat = 0, lng = 0, before = false;
  for (let k = 0; k < steps.length; k += 2) {
    lat += steps[k];
    lng += steps[k + 1];
    const at = toWorld(lat / 100, lng / 100);
    ring.set(at, k);
    // The edges along the map's end are no coast, nor is Antarctica's cut.
    const cut = Math.abs(lng) >= 18000 || lat <= -9000 ||
      (lng === 0 && lat < -6000);
    if (cut && before) lines.push([]);
    lines.at(-1).push(...at);
    before = cut;
  }
  if (!before) lines.at(-1).push(ring[0], ring[1]);
  return {ring, lines, box: bounds(ring)};
}

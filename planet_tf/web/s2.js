"use strict";
// S2 cells from their tokens: a cube on the sphere, each face a quadtree in
// Hilbert order. A point is a vector [x, y, z] of any length, or degrees.
const S2 = (() => {
  // The children of a cell along the curve: their (i, j), by orientation.
  const POS_TO_IJ = [[0, 1, 3, 2], [0, 2, 3, 1], [3, 2, 0, 1], [3, 1, 0, 2]];
  const POS_TO_ORIENTATION = [1, 0, 0, 3];
  const DEGREES = 180 / Math.PI;

  // {token, face, level, i, j}, i and j counting cells of that level along
  // the face; null if the token is none.
  function cell(token) {
    if (!/^[0-9a-f]{0,15}[1-9a-f]$/.test(token)) return null;
    let bits = "";
    for (const digit of token) {
      bits += (16 + parseInt(digit, 16)).toString(2).slice(1);
    }
    const end = bits.lastIndexOf("1"); // the bit that ends an id
    const level = (end - 3) / 2;
    const face = parseInt(bits.slice(0, 3), 2);
    if (level < 0 || level % 1 || face > 5) return null;
    let i = 0, j = 0, orientation = face & 1;
    for (let bit = 3; bit < end; bit += 2) {
      const position = 2 * bits[bit] + +bits[bit + 1];
      const ij = POS_TO_IJ[orientation][position];
      i = 2 * i + (ij >> 1);
      j = 2 * j + (ij & 1);
      orientation ^= POS_TO_ORIENTATION[position];
    }
    return {token, face, level, i, j};
  }

  const toUV = (s) =>
    s >= 0.5 ? (4 * s * s - 1) / 3 : (1 - 4 * (1 - s) * (1 - s)) / 3;
  const toST = (u) =>
    u >= 0 ? 0.5 * Math.sqrt(1 + 3 * u) : 1 - 0.5 * Math.sqrt(1 - 3 * u);

  function vector(face, s, t) {
    const u = toUV(s), v = toUV(t);
    switch (face) {
      case 0: return [1, u, v];
      case 1: return [-u, 1, v];
      case 2: return [-u, -v, 1];
      case 3: return [-1, -v, -u];
      case 4: return [v, -1, -u];
      default: return [v, u, -1];
    }
  }

  // The four corners, counter-clockwise.
  function corners({face, level, i, j}) {
    const n = 2 ** level;
    return [[0, 0], [1, 0], [1, 1], [0, 1]].map(([a, b]) =>
      vector(face, (i + a) / n, (j + b) / n));
  }

  function centre({face, level, i, j}) {
    const n = 2 ** level;
    return toDegrees(vector(face, (i + 0.5) / n, (j + 0.5) / n));
  }

  // Where on the cube a point is: {face, s, t}, s and t being 0 to 1.
  function locate(lat, lng) {
    const [x, y, z] = fromDegrees(lat, lng);
    const ax = Math.abs(x), ay = Math.abs(y), az = Math.abs(z);
    const axis = ax > ay ? (ax > az ? 0 : 2) : (ay > az ? 1 : 2);
    const face = axis + ([x, y, z][axis] < 0 ? 3 : 0);
    const [u, v] = [
      [y / x, z / x], [-x / y, z / y], [-x / z, -y / z],
      [z / x, y / x], [z / y, -x / y], [-y / z, -x / z]][face];
    return {face, s: toST(u), t: toST(v)};
  }

  function contains({face, level, i, j}, place) {
    const n = 2 ** level;
    const along = (st) => Math.min(n - 1, Math.floor(st * n));
    return face === place.face && along(place.s) === i && along(place.t) === j;
  }

  function fromDegrees(lat, lng) {
    const phi = lat / DEGREES, theta = lng / DEGREES;
    return [
      Math.cos(phi) * Math.cos(theta),
      Math.cos(phi) * Math.sin(theta),
      Math.sin(phi)];
  }

  function toDegrees([x, y, z]) {
    return [
      Math.atan2(z, Math.hypot(x, y)) * DEGREES,
      Math.atan2(y, x) * DEGREES];
  }

  return {cell, corners, centre, locate, contains, fromDegrees, toDegrees};
})();

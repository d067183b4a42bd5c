"use strict";
// Values of cells, their colours and the legend.

const number = new Intl.NumberFormat("en", {maximumSignificantDigits: 3});
const valueText = ({unit}, value) =>
  value === null ? "unknown"
    : `${number.format(value)}${unit ? ` ${unit}` : ""}`;
const placeText = (lat, lng, digits = 4) =>
  `${lat.toFixed(digits)}, ${lng.toFixed(digits)}`;

function rangeOf({values, log}) {
  const known = values.filter((v) => v !== null && (!log || v > 0));
  known.sort((a, b) => a - b);
  if (!known.length) return [1, 1];
  const at = (share) => known[Math.round(share * (known.length - 1))];
  return log ? [at(0.005), at(0.995)] : [at(0), at(1)];
}

function setColumn(position) {
  column = position;
  const {log} = data.columns[column];
  const [low, high] = rangeOf(data.columns[column]);
  const f = log ? Math.log : (v) => v;
  for (const cell of cells) {
    const value = cell.values[column];
    const share = high > low ? (f(value) - f(low)) / (f(high) - f(low)) : 0.5;
    cell.bin = value === null || (log && value <= 0) ? BINS
      : Math.max(0, Math.min(BINS - 1, Math.floor(share * BINS)));
  }
  drawLegend(low, high, log);
  redraw();
}

function drawLegend(low, high, log) {
  const {name, unit} = data.columns[column];
  const inName = name.toLowerCase().includes(unit.toLowerCase());
  $("unit").textContent = inName ? name : `${name} (${unit})`;
  $("ramp").style.background =
    `linear-gradient(90deg, ${theme.colours.slice(0, BINS).join()})`;
  const compact = new Intl.NumberFormat(
    "en", {notation: "compact", maximumSignificantDigits: 2});
  const count = high > low ? 3 : 0;
  const ticks = [];
  for (let k = 0; k <= count; k++) {
    const share = count ? k / count : 0.5;
    const value = log ? low * (high / low) ** share
      : low + (high - low) * share;
    const tick = document.createElement("span");
    tick.style.left = `${100 * share}%`;
    tick.textContent = compact.format(value);
    ticks.push(tick);
  }
  $("ticks").replaceChildren(...ticks);
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  const style = getComputedStyle(document.documentElement);
  for (const key of ["sea", "land", "coast", "unknown", "border", "text",
    "halo", "accent", "track", "true"]) {
    theme[key] = style.getPropertyValue(`--${key}`).trim();
  }
  const ramp = style.getPropertyValue("--ramp").trim().split(/\s+/).map((c) =>
    [1, 3, 5].map((k) => parseInt(c.slice(k, k + 2), 16)));
  theme.colours = Array.from({length: BINS}, (_, bin) => {
    const at = bin / (BINS - 1) * (ramp.length - 1);
    const k = Math.min(Math.floor(at), ramp.length - 2);
    return `rgb(${along(ramp[k], ramp[k + 1], at - k).map(Math.round)})`;
  });
  theme.colours.push(theme.unknown);
}

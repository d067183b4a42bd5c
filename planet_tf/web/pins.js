"use strict";
// What is drawn above the heat: circles that hold a share of the probability,
// the likeliest places, the truth, and the track of an album. draw.js calls
// drawTrack and placeNumbers.

let pins = {places: [], circles: [], truth: null, track: []};

function placeNumbers(taken) {
  keepClear(taken, [...pins.places, ...pins.truth ? [pins.truth] : []]);
  return [];
}

function drawTrack() {
  for (const {place, km} of pins.circles) drawCircle(place, km);
  drawLine(pins.track);
  if (pins.truth && pins.places.length) {
    drawLine([pins.places[0], pins.truth], [5, 5], theme.true);
  }
  pins.track.forEach((place) => drawDot(place, 4, theme.machine));
  for (let k = pins.places.length - 1; k >= 0; k--) {
    drawDot(pins.places[k], k ? 7 : 9, theme.machine, k + 1);
  }
  if (pins.truth) drawPin(pins.truth);
}

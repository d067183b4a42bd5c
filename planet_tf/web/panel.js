"use strict";
// The panel: what the answer to a photo says, in words. showAnswer(shot, how)
// fills it and marks the map.

let shown = null; // {answer, distribution, taken}

function showAnswer({answer, distribution}, taken) {
  shown = {answer, distribution, taken};
  const [best] = answer.cells;
  $("headline").textContent = best.place || placeText(best.lat, best.lng, 2);
  const {"50%": half, "90%": most} = answer.radius_km;
  $("reach").textContent = `Half of the probability is within ` +
    `${kmText(half)} of there, nine tenths within ${kmText(most)}.`;
  const truth = taken && taken.lat !== null ? placeOf(taken) : null;
  for (const id of ["truth", "pin"]) $(id).hidden = !truth;
  document.querySelector("#marks .truth").hidden = !truth;
  if (truth) {
    const km = kmText(distance(placeOf(best), truth));
    $("truth").textContent = `Its EXIF places it at ` +
      `${placeText(...truth, 3)}: the answer is ${km} off.`;
  }
  $("places").replaceChildren(...answer.cells.map(placeItem));
  $("countries").replaceChildren(...answer.countries.map(countryItem));
  $("countries-title").hidden = !answer.countries.length;
  pins.circles = [half, most].map((km) => ({place: placeOf(best), km}));
  pins.places = answer.cells.map(placeOf);
  markTruth();
  $("level").max = deepest;
  $("level").value = deepest;
  showLevel();
}

function markTruth() {
  const on = $("show-truth").checked && !$("pin").hidden;
  pins.truth = on ? placeOf(shown.taken) : null;
  redraw();
}

function placeItem(cell) {
  const share = make("span", percent(cell.probability));
  const detail = make("small",
    `${placeText(cell.lat, cell.lng, 3)}, cell ${cell.token}, ` +
    `${kmText(cell.width_km)} wide`);
  const name = make("span", cell.place || placeText(cell.lat, cell.lng, 2));
  const rank = make("span", `${shown.answer.cells.indexOf(cell) + 1}`);
  const button = make("button", "", [rank, name, share, detail]);
  button.onclick = () => look(placeOf(cell), cell.width_km);
  return make("li", "", [button]);
}

function countryItem({name, probability}) {
  const bar = make("progress");
  bar.value = probability;
  bar.setAttribute("aria-label", name);
  return make("li", "",
    [make("span", name), make("span", percent(probability)), bar]);
}

// The best cell of the level that the slider says, and how probable it is.
function showLevel() {
  const level = +$("level").value;
  const [[token, share, k]] = sumsAt(shown.distribution, known, level);
  selected = drawable(token, share);
  const inside = shown.answer.cells.find((c) => c.token === known[k].token);
  const name = inside?.place || placeText(...S2.centre(selected), 1);
  const words = `${percent(share)} that it is in the outlined cell around ` +
    `${name}, some ${kmText(widthOf(selected))} wide`;
  $("within").textContent = `${words}.`;
  $("level").setAttribute("aria-valuetext", words);
  redraw();
}

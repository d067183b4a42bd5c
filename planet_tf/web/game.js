"use strict";
// The game: a person guesses on the map where photos were taken, then sees the
// truth and what the machine says. The server knows the truth, the page does
// not until the guess is made.

let game = null; // {game, rounds}, as the server names it
let rounds = []; // the server's answers to the guesses made
let guess = null; // (lat, lng), as long as it can be changed
let marks = []; // on the map: {person, machine, truth}, one a round

const pointsText = (points) => `${points.toLocaleString("en")} points`;
const photoOf = (k) => `/api/game/${game.game}/photo/${k}`;

// --- the map

function pickAt(px, py) {
  if ($("round").hidden || !$("outcome").hidden) return;
  guess = toPlace(...fromScreen(px, py));
  marks = [{person: guess}];
  $("go").disabled = false;
  tell(`Your guess: ${placeText(...guess, 1)}.`);
  redraw();
}

function placeNumbers(taken) {
  keepClear(taken, marks.flatMap((mark) => Object.values(mark)));
  return [];
}

function drawTrack() {
  const each = (draw) => marks.forEach((mark, k) =>
    ["machine", "person"].filter((who) => mark[who]).forEach((who) =>
      draw(mark, who, marks.length > 1 ? k + 1 : "")));
  each((mark, who) => mark.truth &&
    drawLine([mark[who], mark.truth], [5, 5], theme[who]));
  each((mark, who, number) => drawDot(mark[who], 8, theme[who], number));
  for (const {truth} of marks) if (truth) drawPin(truth);
}

// --- playing

function show(section) {
  for (const id of ["start", "round", "end"]) $(id).hidden = id !== section;
  $("photo").setAttribute("aria-pressed", false);
  document.querySelector("main").scrollTop = 0;
}

async function begin() {
  const wish = {player: $("name").value, keep: $("keep").checked};
  game = await post("/api/game", JSON.stringify(wish));
  rounds = [];
  showRound();
}

function showRound() {
  const number = rounds.length + 1, last = rounds.at(-1);
  marks = [];
  guess = null;
  showHeat(null);
  $("legend").hidden = $("outcome").hidden = true;
  $("hint").hidden = false;
  $("go").textContent = "Guess";
  $("go").disabled = true;
  $("picture").src = photoOf(number);
  const score = last ? `you ${last.points.person.toLocaleString("en")}, ` +
    `machine ${last.points.machine.toLocaleString("en")}` : "";
  $("count").textContent = `Photo ${number} of ${game.rounds}` +
    (score && ` · ${score}`);
  tell("");
  show("round");
  home();
}

async function makeGuess() {
  const [lat, lng] = guess;
  const found = await post(`/api/game/${game.game}/guess`,
    JSON.stringify({round: rounds.length + 1, lat, lng}));
  rounds.push(found);
  guess = null;
  showOutcome(found);
}

const markOf = ({person, machine, truth}) => ({
  person: placeOf(person), machine: placeOf(machine), truth: placeOf(truth)});
const nearer = ({person, machine}) =>
  Math.sign(machine.km - person.km); // 1: the person, -1: the machine

function showOutcome(found) {
  const {truth, person, machine} = found;
  tell("");
  $("headline").textContent = ["The machine is nearer.", "Equally near!",
    "You are nearer!"][nearer(found) + 1];
  $("truth").textContent = "It was taken " + (truth.place
    ? `near ${truth.place} (${placeText(truth.lat, truth.lng, 2)}).`
    : `at ${placeText(truth.lat, truth.lng, 2)}.`);
  for (const [who, {km, points}] of Object.entries({person, machine})) {
    $(`${who}-km`).textContent = `${kmText(km)} off`;
    $(`${who}-points`).textContent = pointsText(points);
  }
  say(["headline", "truth", "person-km", "machine-km"].map((id) =>
    $(id).textContent).join(" "));
  $("hint").hidden = true;
  $("outcome").hidden = $("legend").hidden = false;
  $("go").textContent = found.over ? "See the result" : "Next photo";
  $("go").focus();
  showHeat(machine.distribution);
  marks = [markOf(found)];
  lookAtAll(Object.values(marks[0]));
}

function lookAtAll(places) { // from above their middle
  const sum = places.map(([lat, lng]) => S2.fromDegrees(lat, lng))
    .reduce((a, b) => a.map((value, k) => value + b[k]));
  const middle = S2.toDegrees(unit(sum));
  look(middle, Math.max(...places.map((p) => distance(middle, p)), 20));
}

function showEnd() {
  const {points, kept} = rounds.at(-1);
  const won = rounds.filter((one) => nearer(one) > 0).length;
  const total = Math.sign(points.person - points.machine);
  $("verdict").textContent =
    ["The machine wins.", "A draw!", "You win!"][total + 1];
  $("won").textContent = `You were nearer in ${won} of ${rounds.length} rounds.`;
  $("rounds").replaceChildren(...rounds.map(roundRow));
  $("person-total").textContent = points.person.toLocaleString("en");
  $("machine-total").textContent = points.machine.toLocaleString("en");
  $("kept").hidden = !$("keep").checked;
  $("kept").textContent = kept ? "Your result is kept."
    : "Your result could not be kept: the server cannot write it.";
  marks = rounds.map(markOf);
  showHeat(null);
  $("legend").hidden = true;
  show("end");
  lookAtAll(marks.flatMap((mark) => Object.values(mark)));
  $("verdict").focus();
}

function roundRow(one, k) {
  const image = make("img");
  image.src = photoOf(k + 1);
  image.alt = `Photo ${k + 1}`;
  const cell = ({km, points}, isNear) => {
    const td = make("td", kmText(km), [make("small", pointsText(points))]);
    td.classList.toggle("near", isNear);
    return td;
  };
  const head = make("th", "", [make("span", `${k + 1}`), image]);
  head.scope = "row";
  return make("tr", "", [head, cell(one.person, nearer(one) > 0),
    cell(one.machine, nearer(one) < 0)]);
}

// --- input

// Does something that asks the server, once at a time, and says what failed.
async function move(action) {
  if (document.body.classList.contains("busy")) return;
  document.body.classList.add("busy");
  try {
    await action();
  } catch (error) {
    tell(error.message, true);
  } finally {
    document.body.classList.remove("busy");
  }
}

function next() {
  if (guess) return move(makeGuess);
  if (rounds.at(-1).over) return showEnd();
  return showRound();
}

run(async () => {
  $("begin").onclick = $("again").onclick = () => move(begin);
  $("go").onclick = next;
  $("picture").onerror = () =>
    tell("The photo cannot be shown: is the server still running?", true);
  $("photo").onclick = () => {
    const large = $("photo").getAttribute("aria-pressed") === "true";
    $("photo").setAttribute("aria-pressed", !large);
  };
  const model = await startMap();
  if (!model.game.playable) {
    throw new Error("this server was started without --game_shards");
  }
  $("player").hidden = !model.game.keeps_results;
  $("begin").disabled = false;
});

"use strict";

const SHOWN_DAYS = [1, 3, 7, 14, 30];
const ALL_DAYS = Array.from({ length: 30 }, (_, day) => day + 1);
const WIDTH = 720, HEIGHT = 320, LEFT = 62, RIGHT = 14, TOP = 14, BOTTOM = 30;
const REASONS = {
  horizon_not_supported: "this model does not forecast so far ahead",
  count_hidden: "the count is hidden",
  metric_not_supported: "this model does not forecast it",
};
const DEGRADED = {
  stale_features: "the last observation is old",
  channel_features_missing: "nothing is stored about the channel",
  clock_behind_data: "the clock is behind the data",
  model_unconfirmed: "the model registry has not confirmed the model",
  online_store_unavailable: "the feature store does not answer",
  recent_features: "features are those read last",
  fallback_curves: "only how such counts usually grow is known",
};

const element = (id) => document.getElementById(id);
const full = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(videoId(element("video").value));
});

function videoId(text) {
  const found = text.trim().match(/(?:v=|youtu\.be\/|shorts\/|embed\/|live\/)([A-Za-z0-9_-]{11})/);
  return found ? found[1] : text.trim();
}

for (const mode of element("modes").children) {
  mode.addEventListener("click", () => {
    for (const other of element("modes").children) {
      other.setAttribute("aria-selected", String(other === mode));
      element(other.dataset.form).hidden = other !== mode;
    }
    clear("");
  });
}

element("draft").addEventListener("submit", (event) => {
  event.preventDefault();
  askDraft();
});

async function call(path, body) {
  const headers = {};
  const key = element("key").value.trim();
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail || answer.title);
  return answer;
}

function clear(message) {
  for (const id of ["answer", "comparison", "why"]) element(id).hidden = true;
  element("unusual").textContent = "";
  element("message").textContent = message;
}

async function ask(id) {
  clear("Asking…");
  const video = `/v1/videos/${encodeURIComponent(id)}`;
  const query = new URLSearchParams({ days: ALL_DAYS.join(",") });
  try {
    const answer = await call(`${video}/forecast?${query}`);
    clear("");
    history.replaceState(null, "", `#${answer.video_id}`);
    show(answer);
  } catch (error) {
    element("message").textContent = error.message;
    return;
  }
  // What is beside the forecast may be missing without spoiling it.
  call(`${video}/explanation?days=7&top=5`).then(showWhy, () => {});
  call(`${video}/outlier`).then(showUnusual, () => {});
}

async function askDraft() {
  clear("Asking…");
  const titles = element("titles").value.split("\n").map((title) => title.trim()).filter(Boolean);
  const known = {};
  if (element("minutes").value) known.duration_seconds = Number(element("minutes").value) * 60;
  if (element("planned").value) known.planned_at = new Date(element("planned").value).toISOString();
  const channel = element("channel").value.trim();
  try {
    if (titles.length > 1) {
      const variants = titles.map((title) => ({ title, ...known }));
      showComparison(await call("/v1/drafts/compare", { channel_id: channel, variants }));
    } else {
      show(await call("/v1/drafts/forecast", { channel_id: channel, title: titles[0], days: ALL_DAYS, ...known }));
    }
    element("message").textContent = "";
  } catch (error) {
    element("message").textContent = error.message;
  }
}

function showComparison(answer) {
  element("verdict").textContent = answer.can_tell
    ? `“${answer.ranking[0].title}” should do best in ${answer.horizon_days} days.`
    : "The model cannot tell these apart: the differences are within its error.";
  element("ranking").replaceChildren(...answer.ranking.map((one) => item(
    `${one.title}: ${short.format(one.p50)} views, ${Math.round(one.times_the_best * 100)} % of the first`)));
  element("comparison").hidden = false;
}

function showWhy(answer) {
  element("terms").replaceChildren(...answer.terms.map((term) => item(term.words)));
  element("why").hidden = false;
}

function showUnusual(answer) {
  if (answer.times_normal === null) return;
  const times = answer.times_normal.toLocaleString(undefined, { maximumSignificantDigits: 2 });
  const words = { above: "more than usual", below: "less than usual", within: "within the usual", unknown: "" };
  element("unusual").textContent = `${times} times the channel's normal at this age` +
    (words[answer.verdict] && `: ${words[answer.verdict]}`);
}

function item(text) {
  const entry = document.createElement("li");
  entry.textContent = text;
  return entry;
}

function show(answer) {
  const tabs = element("tabs");
  tabs.replaceChildren();
  for (const metric of Object.keys(answer.metrics)) {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.role = "tab";
    tab.textContent = metric;
    tab.addEventListener("click", () => select(answer, metric));
    tabs.append(tab);
  }
  element("provenance").textContent = provenance(answer);
  element("answer").hidden = false;
  select(answer, Object.keys(answer.metrics)[0]);
}

function select(answer, metric) {
  for (const tab of element("tabs").children) {
    tab.setAttribute("aria-selected", String(tab.textContent === metric));
  }
  const { current, forecasts } = answer.metrics[metric];
  const known = forecasts.filter((ahead) => ahead.p50 !== null);
  drawFan(current ?? 0, known);
  fillTable(forecasts);
  element("caption").textContent = known.length
    ? `${metric}: ${current === null ? "not published yet" : `${full.format(current)} now`}, ${short.format(known.at(-1).p50)} expected ` +
      `in ${known.at(-1).horizon_days} days`
    : `No forecast of ${metric}: ${REASONS[forecasts[0].reason]}`;
}

function fillTable(forecasts) {
  const rows = forecasts.filter((ahead) => SHOWN_DAYS.includes(ahead.horizon_days)).map((ahead) => {
    const row = document.createElement("tr");
    const cells = ahead.p50 === null ? ["–", REASONS[ahead.reason], "–"]
      : [ahead.p10, ahead.p50, ahead.p90].map((count) => full.format(count));
    for (const text of [`${ahead.horizon_days} d`, ...cells]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  });
  element("rows").replaceChildren(...rows);
}

function drawFan(current, known) {
  const fan = element("fan");
  fan.replaceChildren();
  if (!known.length) return;
  const last = known.at(-1);
  const span = Math.max(last.p90 - current, 1);
  const x = (day) => LEFT + (day / last.horizon_days) * (WIDTH - LEFT - RIGHT);
  const y = (count) => TOP + (1 - (count - current) / span) * (HEIGHT - TOP - BOTTOM);
  const point = (day, count) => `${x(day).toFixed(1)},${y(count).toFixed(1)}`;
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const count = current + share * span;
    draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(count), y2: y(count) });
    draw("text", { class: "tick", x: LEFT - 8, y: y(count) + 4, "text-anchor": "end" },
      short.format(Math.round(count)));
  }
  for (const { horizon_days: day } of known.filter((ahead) => SHOWN_DAYS.includes(ahead.horizon_days))) {
    draw("text", { class: "tick", x: x(day), y: HEIGHT - 8, "text-anchor": "middle" }, `${day} d`);
  }
  const up = known.map((ahead) => point(ahead.horizon_days, ahead.p90));
  const down = known.map((ahead) => point(ahead.horizon_days, ahead.p10)).reverse();
  const middle = known.map((ahead) => point(ahead.horizon_days, ahead.p50));
  const start = point(0, current);
  draw("polygon", { class: "band", points: [start, ...up, ...down].join(" ") });
  draw("polyline", { class: "median", points: [start, ...middle].join(" ") });
  draw("circle", { class: "now", cx: x(0), cy: y(current), r: 4 });
}

function draw(name, attributes, text) {
  const shape = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
  if (text !== undefined) shape.textContent = text;
  element("fan").append(shape);
}

function provenance(answer) {
  const seen = new Date(answer.observed_at).toLocaleString();
  const parts = [`Counts of ${seen}`, `model ${answer.model_version}`, `${answer.world} data`];
  const doubts = answer.degraded_reasons.map((reason) => DEGRADED[reason] || reason);
  if (doubts.length) parts.push(`less certain than usual: ${doubts.join(", ")}`);
  return parts.join(" · ");
}

if (location.hash.length > 1) {
  element("video").value = decodeURIComponent(location.hash.slice(1));
  ask(videoId(element("video").value));
}

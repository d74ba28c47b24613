// Sorting and copying of tables, charts, and what changes while a page is open. The pages are complete without it.
"use strict";

const value = (row, column) => row.cells[column].textContent.trim();
const numeric = (text) => (text === "–" ? -Infinity : Number(text.replace(/,/g, "")));

function sortBy(table, column, header) {
  const down = header.getAttribute("aria-sort") === "ascending";
  const numbers = header.classList.contains("num");
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [value(a, column), value(b, column)];
    return numbers ? numeric(x) - numeric(y) : x.localeCompare(y);
  });
  if (down) rows.reverse();
  table.tBodies[0].append(...rows);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
}

function csv(table) {
  // A spreadsheet takes a text that begins so for a formula; numbers stay numbers.
  const safe = (text) => (/^[=+@\t\r]|^-(?![\d.]+$)/.test(text) ? "'" + text : text);
  const quoted = (cell) => '"' + safe(cell.textContent.trim().replace(/\s+/g, " ")).replace(/"/g, '""') + '"';
  return [...table.rows].map((row) => [...row.cells].map(quoted).join(",")).join("\r\n");
}

function enhance(root) {
  for (const table of root.querySelectorAll("table.data")) {
    if (!table.tHead) continue;
    // A list in pages is sorted by the service: one page of it in another order would mislead.
    if (!table.classList.contains("listed")) [...table.tHead.rows[0].cells].forEach((header, column) => {
      if (header.querySelector("a, button, input")) return; // what acts by itself is not wrapped in a button
      const button = document.createElement("button");
      button.className = "sort";
      button.type = "button";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sortBy(table, column, header));
      header.append(button);
    });
    const copy = document.createElement("button");
    copy.className = "copy";
    copy.type = "button";
    copy.textContent = "Copy as CSV";
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(csv(table));
      copy.textContent = "Copied";
    });
    const caption = table.parentElement.nextElementSibling;
    if (caption && caption.matches("p.small")) caption.append(" ", copy);
    else if (caption && caption.matches(".paging")) caption.firstElementChild.append(" ", copy);
    else table.parentElement.after(copy);
  }

  // A form of filters leaves out what is empty, so that the address can be read and shared.
  for (const form of root.querySelectorAll("form.filters, form.search")) {
    form.addEventListener("submit", () => {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
      setTimeout(() => { for (const field of form.elements) field.disabled = false; });
    });
  }
}

// The chart library is fetched only by pages with charts, after they can be read.
function drawCharts() {
  const drawn = document.querySelector(".drawn");
  if (!drawn) return;
  if (window.assayCharts) return void window.assayCharts();
  if (document.querySelector("script[data-charts]")) return; // on its way: it draws what is there when it comes
  for (const address of [drawn.dataset.vega, drawn.dataset.charts]) {
    const script = document.createElement("script");
    script.src = address;
    script.dataset.charts = "";
    script.async = false; // in this order
    document.head.append(script);
  }
}

// What changes while the page is open: the service tells the state of each topic; a page that is out of date is fetched
// again. A hidden page holds no stream, because browsers open only a few connections to one service.
const LEAST_MS = 5000; // between two fetches of the page
const topics = (document.body.dataset.live || "").split(/\s+/).filter(Boolean);
const known = new Map();
let stream = null;
let fetched = Date.now();
let due = 0;

const say = (words) => {
  const place = document.getElementById("live");
  if (place) place.textContent = words;
};
const clock = () => new Date().toISOString().slice(11, 19);
// What somebody is writing or has opened to act on must not be taken away.
const inUse = () => {
  const fields = [...document.querySelectorAll("main input, main textarea, main select")];
  const at = document.activeElement;
  const written = (f) => (f.type === "checkbox" || f.type === "radio" ? f.checked !== f.defaultChecked : f.value !== f.defaultValue);
  return fields.some((f) => f === at || (f.tagName !== "SELECT" && f.type !== "hidden" && written(f)));
};

async function refresh() {
  due = 0;
  if (inUse()) {
    say(`Something has changed since ${clock()}; load the page again to see it.`);
    due = setTimeout(refresh, LEAST_MS);
    return;
  }
  fetched = Date.now();
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected || !answer.ok) return void location.reload();
  const made = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [old, main] = [document.querySelector("main"), made.querySelector("main")];
  const opened = new Set([...old.querySelectorAll("details[open] > summary")].map((s) => s.textContent));
  for (const summary of main.querySelectorAll("details > summary")) if (opened.has(summary.textContent)) summary.parentElement.open = true;
  old.replaceChildren(...main.childNodes);
  document.title = made.title;
  enhance(old);
  drawCharts();
  say(`Changed at ${clock()}; this page follows.`);
}

function shown(state) {
  for (const place of document.querySelectorAll(`[data-topic="${CSS.escape(state.topic)}"]`)) {
    const bar = place.querySelector("progress");
    if (bar && state.total) [bar.max, bar.value] = [state.total, state.done];
    if (place.querySelector("span") && state.words) place.querySelector("span").textContent = state.words;
  }
}

function told(event) {
  const state = JSON.parse(event.data);
  const before = known.get(state.topic);
  known.set(state.topic, state);
  shown(state);
  const place = document.querySelector(`[data-topic="${CSS.escape(state.topic)}"]`);
  const stale = before ? before.token !== state.token : place && state.state && place.dataset.state && place.dataset.state !== state.state;
  if (stale && !due) due = setTimeout(refresh, Math.max(300, fetched + LEAST_MS - Date.now()));
}

function listen() {
  if (!topics.length || stream || document.hidden) return;
  stream = new EventSource(`/live?${topics.map((t) => `on=${encodeURIComponent(t)}`).join("&")}`);
  stream.addEventListener("open", () => say("This page follows what changes."));
  stream.addEventListener("state", told);
  stream.addEventListener("over", () => {
    stop();
    say("Your session has ended; this page shows the state of before.");
  });
  stream.addEventListener("error", () => {
    if (!stream || stream.readyState !== EventSource.CLOSED) return; // it connects again by itself
    stop();
    say("The service does not tell what changes now; load the page again to see it.");
    setTimeout(listen, 30000);
  });
}

function stop() {
  stream?.close();
  stream = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
addEventListener("pagehide", stop);

enhance(document);
drawCharts();
listen();

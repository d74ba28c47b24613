// Sorting and copying of tables, and a quiet reload while work is going on. The pages are complete without it.
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

for (const table of document.querySelectorAll("table.data")) {
  if (!table.tHead) continue;
  // A list in pages is sorted by the service: one page of it in another order would mislead.
  if (!table.classList.contains("listed")) [...table.tHead.rows[0].cells].forEach((header, column) => {
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
for (const form of document.querySelectorAll("form.filters, form.search")) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    setTimeout(() => { for (const field of form.elements) field.disabled = false; });
  });
}

// The chart library is fetched only by pages with charts, after they can be read.
const drawn = document.querySelector(".drawn");
if (drawn) {
  for (const address of [drawn.dataset.vega, drawn.dataset.charts]) {
    const script = document.createElement("script");
    script.src = address;
    script.async = false; // in this order
    document.head.append(script);
  }
}

const every = Number(document.body.dataset.refresh || 0);
if (every) {
  setInterval(() => {
    const typing = document.activeElement && document.activeElement.matches("input, summary, button");
    if (!typing && !document.hidden) location.reload();
  }, every * 1000);
}

"use strict";
// Sort and filter the table of all submissions. Without this script the table shows everything.
const form = document.getElementById("filters");
const body = document.querySelector("#submissions tbody");
const rows = [...body.rows];

// `lost` and `mistakes` are lists of names, separated by spaces.
const matches = (row, name, wanted) => {
  const has = row.dataset[name];
  if (name === "text") return has.includes(wanted.trim().toLowerCase());
  return name === "lost" || name === "mistakes" ? has.split(" ").includes(wanted) : has === wanted;
};

const filter = () => {
  const wanted = [...new FormData(form)].filter(([, value]) => value.trim());
  for (const row of rows) row.hidden = !wanted.every(([name, value]) => matches(row, name, value));
  const shown = rows.filter((row) => !row.hidden).length;
  document.getElementById("shown").textContent = `${shown} of ${rows.length} shown`;
};

const value = (row, column) => {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim();
};

const sort = (head, column) => {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  const sorted = [...rows].sort((a, b) => order(value(a, column), value(b, column)));
  body.append(...(down ? sorted.reverse() : sorted));
};

[...document.querySelectorAll("#submissions thead th")].forEach((head, column) => {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head, column));
  head.append(button);
});
form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
filter();

"use strict";

// All can be read without this: it copies, filters, sorts, and shows how long ago a time is.

const said = document.getElementById("said");

function say(message) {
  said.textContent = "";
  // A message that is said twice is heard twice.
  setTimeout(() => { said.textContent = message; }, 50);
}

// --- copy ---

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

async function copy(button, element, what) {
  try {
    // Over plain http, browsers have a clipboard for this machine's own pages only.
    await navigator.clipboard.writeText(element.textContent);
    button.textContent = "Copied";
    say(`Copied ${what}.`);
  } catch {
    select(element);
    button.textContent = "Selected";
    say(`Selected ${what}: press Ctrl+C to copy.`);
  }
  setTimeout(() => { button.textContent = "Copy"; }, 3000);
}

for (const element of document.querySelectorAll("[data-copy]")) {
  const text = element.firstElementChild ?? element;
  const what = element.dataset.copy;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${what}`);
  button.addEventListener("click", () => copy(button, text, what));
  // Beside a link, not in it.
  (element.closest("a") ?? element).after(" ", button);
}

// --- times ---

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

function since(element) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(element.dateTime)) / 1000));
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

for (const element of document.querySelectorAll("time[datetime]")) {
  if ("short" in element.dataset) {
    element.title = element.textContent;
    element.textContent = since(element);
    continue;
  }
  const ago = document.createElement("span");
  ago.className = "ago";
  ago.textContent = ` (${since(element)})`;
  element.after(ago);
}

// --- the list of projects ---

const ORDERS = {
  problems: null,  // as the page came
  newest: (one, other) => other.dataset.published - one.dataset.published,
  name: (one, other) => one.dataset.name < other.dataset.name ? -1 : 1,
};

function arrange(form) {
  const body = document.querySelector(".rows tbody");
  const rows = [...body.rows];
  const none = document.getElementById("none");
  const { q, sort } = form.elements;

  function show() {
    const words = q.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    none.hidden = shown > 0;
    body.append(...(ORDERS[sort.value] ? [...rows].sort(ORDERS[sort.value]) : rows));
    return shown;
  }

  function change() {
    const shown = show();
    const query = new URLSearchParams();
    if (q.value) query.set("q", q.value);
    if (sort.value !== "problems") query.set("sort", sort.value);
    // What is shown can be bookmarked and sent.
    const url = new URL(location.href);
    url.search = query;
    history.replaceState(null, "", url);
    say(`${shown} of ${rows.length} projects shown.`);
  }

  const query = new URLSearchParams(location.search);
  q.value = query.get("q") ?? "";
  sort.value = Object.hasOwn(ORDERS, query.get("sort") ?? "") ? query.get("sort") : "problems";
  show();
  form.hidden = false;
  form.addEventListener("input", change);
  form.addEventListener("submit", (event) => event.preventDefault());
}

const form = document.querySelector(".filter");
if (form) arrange(form);

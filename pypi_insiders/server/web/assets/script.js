"use strict";

// Everything can be read without this: it adds copy buttons and tells how long ago a time is.

const said = document.getElementById("said");

function say(message) {
  said.textContent = "";
  // A message that is said twice is heard twice.
  setTimeout(() => { said.textContent = message; }, 50);
}

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
  element.after(button);
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

function since(element) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(element.dateTime)) / 1000));
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

for (const element of document.querySelectorAll("time[datetime]")) {
  const ago = document.createElement("span");
  ago.className = "ago";
  ago.textContent = ` (${since(element)})`;
  element.after(ago);
}

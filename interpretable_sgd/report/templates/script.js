"use strict";
// The page reads without this; it adds sorting, filtering, search and zoom.

const text = (cell) => cell.dataset.value ?? cell.textContent.trim();

function compare(a, b) {
  const [x, y] = [parseFloat(a), parseFloat(b)];
  if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
  return Number.isNaN(x) ? a.localeCompare(b) : x - y;
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.dataset.fixed !== undefined) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("n") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => sign * compare(text(a.cells[column]), text(b.cells[column])));
      table.tBodies[0].append(...rows);
    });
  });
}

function tools(form) {
  const target = document.getElementById(form.dataset.for);
  const items = () => [...target.querySelectorAll("[data-search]")];
  const [search, filter, order] = ["search", "filter", "order"].map((name) => form.elements[name]);
  const shown = form.querySelector("output");
  const update = () => {
    const words = search.value.trim().toLowerCase().split(/\s+/);
    let count = 0;
    for (const item of items()) {
      const own = item.dataset.search.toLowerCase();
      const fits = words.every((word) => own.includes(word));
      item.hidden = !(fits && (!filter || !filter.value || item.dataset.filter === filter.value));
      count += item.hidden ? 0 : 1;
      if (search.value && !item.hidden) unfold(item);
    }
    shown.textContent = count ? `${count} of ${items().length}` : "Nothing matches all of these words.";
  };
  search.addEventListener("input", update);
  filter?.addEventListener("change", update);
  order?.addEventListener("change", () => {
    const [key, sign] = [order.value.replace("-", ""), order.value.startsWith("-") ? -1 : 1];
    const sorted = items().sort((a, b) => sign * compare(a.dataset[key], b.dataset[key]));
    sorted.forEach((item) => item.parentElement.append(item));
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
}

function zoomable(picture, dialog) {
  const open = () => {
    const copy = picture.cloneNode(true);
    copy.classList.remove("zoomable");
    ["tabindex", "role"].forEach((name) => copy.removeAttribute(name));
    dialog.querySelector(".picture").replaceChildren(copy);
    dialog.querySelector("p").textContent = picture.getAttribute("alt") ?? picture.getAttribute("aria-label");
    dialog.showModal();
  };
  picture.classList.add("zoomable");
  picture.setAttribute("tabindex", "0");
  picture.setAttribute("role", "button");
  picture.addEventListener("click", open);
  picture.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open();
  });
}

// Of classes without images, which are folded away.
function unfold(item) {
  const others = item.closest(".others");
  if (others) others.open = true;
}

function openTarget() {
  const card = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (card && card.tagName === "DETAILS") card.open = true;
  if (card) unfold(card);
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("form.tools").forEach(tools);
const dialog = document.querySelector("dialog");
document.querySelectorAll("[data-zoom]").forEach((picture) => zoomable(picture, dialog));
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
addEventListener("hashchange", openTarget);
openTarget();

"use strict";
// Searching the tables. Without this script they are there as a whole.
for (const filter of document.querySelectorAll(".filter")) {
  const body = document.getElementById(filter.dataset.table).tBodies[0];
  // A row that tells more about the one before it goes with that one.
  const entries = [];
  for (const row of body.rows) {
    if (row.classList.contains("about")) entries.at(-1).rows.push(row);
    else entries.push({ rows: [row], choice: row.dataset.choice, archs: row.dataset.archs.split(", ") });
  }
  for (const entry of entries) entry.text = entry.rows.map((row) => row.textContent).join(" ").toLowerCase();
  const count = filter.querySelector(".count");
  const apply = () => {
    const words = filter.querySelector("input").value.toLowerCase().split(/\s+/);
    const chosen = [...filter.querySelectorAll("select")].filter((s) => s.value);
    let shown = 0;
    for (const entry of entries) {
      const fits = words.every((word) => entry.text.includes(word)) && chosen.every((s) => [entry[s.dataset.field]].flat().includes(s.value));
      for (const row of entry.rows) row.hidden = !fits;
      shown += fits;
    }
    const all = entries.length;
    count.textContent = (shown === all ? "" : shown + " of ") + all + " " + (all === 1 ? filter.dataset.one : filter.dataset.many);
  };
  filter.addEventListener("input", apply);
  filter.hidden = false;
  apply();
}
// Paper has everything, whatever was folded or filtered.
const folded = [];
addEventListener("beforeprint", () => {
  for (const d of document.querySelectorAll("details:not([open])")) { d.open = true; folded.push(d); }
});
addEventListener("afterprint", () => {
  for (const d of folded.splice(0)) d.open = false;
});

// Marks the block that is in view: the last one whose top has passed a line in the upper third of the window.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const rows = [...document.querySelectorAll(".walk-row")];
  if (rows.length === 0 || !("IntersectionObserver" in window)) return;
  document.body.classList.add("walk-watched");

  const crossing = new Set();
  const mark = () => {
    const line = window.innerHeight / 3;
    const marked = rows.filter((row) => crossing.has(row)).find((row) => row.getBoundingClientRect().bottom > line);
    if (marked === undefined) return; // between two blocks the last one stays marked
    for (const row of rows) row.classList.toggle("walk-in-view", row === marked);
  };
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) crossing.add(entry.target);
        else crossing.delete(entry.target);
      }
      mark();
    },
    { rootMargin: "-33% 0px -60% 0px" } // a band below a third of the window's height
  );
  for (const row of rows) watcher.observe(row);
});

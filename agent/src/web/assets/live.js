// Keeps the part of a page that changes up to date. Without it the page shows how things were when it was loaded.
"use strict";
const live = document.querySelector("[data-live]");
if (live) {
  const every = Number(live.dataset.every || 2000);
  const look = async () => {
    try {
      const answer = await fetch(live.dataset.live, { credentials: "same-origin" });
      if (!answer.ok) return;
      const atEnd = live.scrollHeight - live.scrollTop - live.clientHeight < 40;
      if (live.dataset.kind === "text") live.textContent = await answer.text();
      else live.replaceChildren(...new DOMParser().parseFromString(await answer.text(), "text/html").body.childNodes);
      if (atEnd) live.scrollTop = live.scrollHeight;
    } catch {
      // The next look may find the way again.
    }
  };
  setInterval(look, every);
}

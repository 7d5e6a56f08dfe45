// On every page of somebody who is signed in: how many notices are unread, as soon as that changes.

import { Live, news } from "./live.js";
import { say } from "./page.js";

const badge = document.querySelector("[data-unread]");
let shown = badge.hidden ? 0 : Number(badge.firstElementChild.textContent);

news.addEventListener("notices", ({ detail: { unread } }) => {
  const more = unread > shown;
  shown = unread;
  badge.firstElementChild.textContent = unread;
  badge.hidden = !unread;
  if (!more) return;
  document.querySelector("[data-more]")?.removeAttribute("hidden");
  say(`${unread} unread ${unread === 1 ? "notice" : "notices"}`);
});

if (!document.querySelector("[data-composer], [data-copy]")) new Live().open(); // such a page has one of its own

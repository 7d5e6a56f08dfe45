// Recovery codes, shown once: to copy, to download, to print. Afterwards the page is loaded anew, and they are gone.

import { say } from "./page.js";

export function showCodes(codes) {
  const dialog = document.querySelector("#codes");
  if (!codes?.length) return location.assign("/security");
  const text = codes.join("\n");
  dialog.querySelector("[data-list]").textContent = text;
  const file = URL.createObjectURL(new Blob([`Recovery codes of Clofy Cloud\n\n${text}\n`], { type: "text/plain" }));
  dialog.querySelector("[data-download]").href = file;
  dialog.querySelector("[data-copy]").addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  });
  dialog.querySelector("[data-print]").addEventListener("click", () => window.print());
  dialog.querySelector("[data-kept]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    URL.revokeObjectURL(file);
    location.assign("/security");
  });
  return dialog.showModal();
}

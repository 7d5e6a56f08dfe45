// Pictures for the editor: chosen from the library, or uploaded, by dropping them on the text too.

import { call, newKey, Problem } from "./api.js";

const WAIT = 20; // seconds of one long poll

const csrf = () => document.querySelector('meta[name="csrf-token"]').content;

// One block, as it is; `sent` is told how many of its bytes have left. fetch does not say.
function sendBlock(path, block, sent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", path);
    request.setRequestHeader("X-CSRF-Token", csrf());
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", ({ loaded }) => sent(loaded));
    request.addEventListener("load", () => {
      if (request.status === 204) return resolve();
      let facts = {};
      try {
        facts = JSON.parse(request.responseText);
      } catch {
        // no problem document: the title says enough
      }
      return reject(new Problem({ title: "The picture was not taken.", ...facts, status: request.status }));
    });
    request.addEventListener("error", () => reject(new Problem({ code: "offline", title: "We cannot be reached. Are you online?" })));
    request.send(block);
  });
}

async function ended(job) {
  let after = "";
  for (;;) {
    const path = `/api/jobs/${job}/events?wait=${WAIT}${after && `&after=${encodeURIComponent(after)}`}`;
    const told = await call("GET", path, { timeout: (WAIT + 10) * 1000 });
    if (told.done) return;
    after = told.events.at(-1)?.id ?? after;
  }
}

// The picture as the API shows it, once it is ready. Throws Problem, also with the reason why it was refused.
// progress: called with a number from 0 to 1
export async function upload(file, progress) {
  const begun = await call("POST", "/api/media", { body: { name: file.name || "picture", bytes: file.size }, key: newKey() });
  for (let number = 0; number < begun.blocks; number += 1) {
    const start = number * begun.block_bytes;
    const block = file.slice(start, start + begun.block_bytes);
    await sendBlock(`/api/media/${begun.id}/blocks/${number}`, block, (sent) => progress((start + sent) / file.size));
  }
  const { job } = await call("POST", `/api/media/${begun.id}/complete`);
  await ended(job);
  const made = await call("GET", `/api/media/${begun.id}`);
  if (made.state !== "ready") throw new Problem({ title: made.sentence ?? "The picture was not taken." });
  return made;
}

function thumbnail(picture, choose) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "textual" });
  button.append(Object.assign(document.createElement("img"), { src: picture.src, alt: picture.name, loading: "lazy" }));
  button.addEventListener("click", () => choose(picture));
  return button;
}

// insert: called with a picture that was chosen, or has been uploaded; tell: with a Problem
export function pictures({ text, insert, tell }) {
  const dialog = document.querySelector("#pictures");
  const list = dialog.querySelector("[data-pictures]");
  const bar = document.querySelector("[data-uploading]");
  const choose = (picture) => {
    dialog.close();
    insert(picture);
  };

  async function take(files) {
    for (const file of files) {
      bar.hidden = false;
      bar.value = 0;
      try {
        choose(await upload(file, (share) => { bar.value = share; }));
      } catch (error) {
        dialog.close();
        tell(error);
      } finally {
        bar.hidden = true;
      }
    }
  }

  document.querySelector("[data-choose-picture]").addEventListener("click", async () => {
    dialog.showModal();
    try {
      const { media } = await call("GET", "/api/media");
      const ready = media.filter(({ state }) => state === "ready");
      list.replaceChildren(...(ready.length ? ready.map((one) => thumbnail(one, choose)) : ["There is none yet."]));
    } catch (error) {
      dialog.close();
      tell(error);
    }
  });
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.querySelector("input[type=file]").addEventListener("change", ({ target }) => take([...target.files]));
  for (const kind of ["dragenter", "dragover"]) {
    text.addEventListener(kind, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      text.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) text.addEventListener(kind, () => text.classList.remove("over"));
  text.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
}

// Passkeys: what the server asks is given to the browser, and what the browser made or signed goes back as JSON.
//   data-passkey="give"  sign in by one, alone or as the second step; then go to data-then
//   data-passkey="add"   make one, with the name of the field beside it

import { call, Problem } from "./api.js";
import { showCodes } from "./codes.js";
import { showTrouble } from "./page.js";

const CAN = Boolean(globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON);

async function give() {
  const { options } = await call("POST", "/api/session/passkey/options");
  const credential = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  return call("POST", "/api/session/passkey", { body: { credential: credential.toJSON() } });
}

async function add(name) {
  const { options } = await call("POST", "/api/account/passkeys/options");
  const credential = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
  return call("POST", "/api/account/passkeys", { body: { name, credential: credential.toJSON() } });
}

// What the browser itself refuses comes as a DOMException; the person may simply have closed its window.
function wordsFor(error) {
  if (error instanceof Problem) return error.message;
  if (error.name === "NotAllowedError") return "No passkey was given. Try again, or take another way.";
  if (error.name === "InvalidStateError") return "This device has a passkey for your account already.";
  return "Your browser could not use a passkey here.";
}

async function press(button) {
  const place = button.parentElement.querySelector("[data-trouble]");
  showTrouble(place, "");
  button.setAttribute("aria-disabled", "true");
  try {
    if (button.dataset.passkey === "give") {
      await give();
      return location.assign(button.dataset.then);
    }
    const field = button.parentElement.querySelector("input");
    const answer = await add(field.value.trim() || "Passkey");
    return showCodes(answer.recovery_codes);
  } catch (error) {
    showTrouble(place, wordsFor(error));
    return place.focus();
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

for (const button of document.querySelectorAll("[data-passkey]")) {
  if (CAN) button.addEventListener("click", () => button.getAttribute("aria-disabled") || press(button));
  else button.hidden = true;
}

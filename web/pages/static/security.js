// The security page: setting up an authenticator app, and forms whose answer brings recovery codes (data-codes).

import { call, Problem } from "./api.js";
import { showCodes } from "./codes.js";
import { showTrouble } from "./page.js";

const totp = document.querySelector("[data-totp]");

async function begin() {
  const place = totp.querySelector("[data-trouble]");
  showTrouble(place, "");
  try {
    const { key, qr } = await call("POST", "/api/account/totp");
    totp.querySelector("[data-qr]").src = `data:image/svg+xml;base64,${btoa(qr)}`;
    totp.querySelector("[data-key]").textContent = key;
    totp.querySelector("[data-begin]").hidden = true;
    totp.querySelector("[data-enrolment]").hidden = false;
    totp.querySelector("#code").focus();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    showTrouble(place, error.message);
    place.focus();
  }
}

totp?.querySelector("[data-begin]").addEventListener("click", begin);
for (const form of document.querySelectorAll("form[data-codes]")) {
  form.addEventListener("answered", ({ detail }) => showCodes(detail.recovery_codes));
}

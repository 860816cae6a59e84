"use strict";
(() => {
  const show = () => { for (const button of document.querySelectorAll("button.copy")) button.hidden = !navigator.clipboard; };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const words = button.textContent;
    try { await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent); button.textContent = "Copied"; }
    catch { button.textContent = "Select the text and copy it"; }
    setTimeout(() => { button.textContent = words; }, 1500);
  });
  document.addEventListener("htmx:afterSwap", show);
  const typedIn = () => (document.activeElement?.tagName === "INPUT" ? document.activeElement.id : "");
  let field = "", asked = ""; // that is being typed in: its letters are one step of the history, made by the first answer that is shown; one that a newer took the place of made none
  document.addEventListener("htmx:configRequest", (event) => {
    asked = typedIn();
    if (asked && asked === field) event.detail.headers["X-Typing"] = "1";
  });
  document.addEventListener("htmx:pushedIntoHistory", () => { field = asked; });
  document.addEventListener("focusout", () => { field = ""; });
  show();
})();

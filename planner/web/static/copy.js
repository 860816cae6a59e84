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
  let field = ""; // that is being typed in: its letters are one step of the history
  document.addEventListener("htmx:configRequest", (event) => {
    const typed = document.activeElement?.tagName === "INPUT" ? document.activeElement.id : "";
    if (typed && typed === field) event.detail.headers["X-Typing"] = "1";
    field = typed;
  });
  document.addEventListener("focusout", () => { field = ""; });
  show();
})();

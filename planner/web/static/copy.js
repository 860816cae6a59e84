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
  show();
})();

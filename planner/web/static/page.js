"use strict";
(() => {
  const typedIn = () => (["INPUT", "TEXTAREA"].includes(document.activeElement?.tagName) ? document.activeElement.id : "");
  let field = "", asked = ""; // that is being typed in: its letters are one step of the history, made by the first answer that is shown; one that a newer took the place of made none
  let sent = ""; // what the button sent: the letters before it ask for the same a moment later, and would take its place
  const isSubmitted = (request) => request?.triggeringEvent?.type === "submit"; // by Enter or the button
  document.addEventListener("htmx:confirm", (event) => {
    const asks = new URLSearchParams(new FormData(event.target)).toString();
    if (isSubmitted(event.detail)) sent = asks;
    else if (asks === sent) event.preventDefault();
    else sent = "";
  });
  document.addEventListener("htmx:configRequest", (event) => {
    asked = typedIn();
    if (isSubmitted(event.detail)) event.detail.headers["X-Submit"] = "1";
    if (asked && asked === field) event.detail.headers["X-Typing"] = "1";
  });
  document.addEventListener("htmx:pushedIntoHistory", () => { field = asked; });
  document.addEventListener("focusout", () => { field = ""; });
  const answer = () => document.getElementById("answer"); // each time: the page without a server puts another page in this one's place
  document.addEventListener("htmx:beforeRequest", () => { answer().setAttribute("aria-busy", "true"); });
  document.addEventListener("htmx:afterRequest", () => { answer().removeAttribute("aria-busy"); });
  document.addEventListener("htmx:afterSettle", (event) => { // an answer that was sent for is what is read next; the one before it may settle only now
    if (isSubmitted(event.detail.requestConfig)) answer().querySelector("h2")?.focus({ preventScroll: false });
  });
})();

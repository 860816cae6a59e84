// What a server does for the page, done here: addresses, links, forms and htmx's requests are asked of the application in worker.js.
// An address of the application, /compare?gpu=…, is the folder compare/?gpu=… here, which has a copy of this page; one without a folder, a file to save, is ?/download/….
"use strict";
(() => {
  const parts = new URL(".", document.currentScript.src);
  const base = new URL("..", parts).pathname;
  const pages = document.documentElement.dataset.pages.split(" ");
  const rest = (url) => url.pathname.slice(base.length).replace(/(^|\/)(index\.html)?$/, "");
  const isOurs = (url) => url.origin === location.origin && url.pathname.startsWith(base) && ["", ...pages].includes(rest(url));
  const asked = (url) => (rest(url) === "" && url.search.startsWith("?/") ? url.search.slice(1) : `/${rest(url)}${url.search}`); // of an address in the browser: the application's
  let here = asked(new URL(location.href));
  const meant = (text) => { // what an address in the application's pages stands for: one of its own, or one of the browser's that was put in its place
    const url = new URL(text, location.origin);
    if ((text.startsWith(base) || text.startsWith(location.origin)) && isOurs(url)) return asked(url) + url.hash;
    const inside = new URL(text, `http://inside.invalid${here}`);
    return inside.host === "inside.invalid" ? inside.pathname + inside.search + inside.hash : null;
  };
  const shown = (address) => {
    if (address.startsWith("/static/")) return parts.pathname + address.slice(1);
    const name = /^\/([^/?#]*)/.exec(address)[1], more = address.slice(name.length + 1);
    if (name === "" && !more.startsWith("/")) return base + more;
    return pages.includes(name) && !more.startsWith("/") ? `${base}${name}/${more}` : `${base}?${address}`;
  };
  const rewritten = (root) => {
    for (const name of ["href", "src", "action", "formaction"]) {
      for (const element of root.querySelectorAll(`[${name}]`)) {
        const text = element.getAttribute(name), address = /^(#|data:)/.test(text) ? null : meant(text);
        if (address) element.setAttribute(name, shown(address));
      }
    }
    return root;
  };

  // The worker, asked one thing after the other; what nobody waits for any more is not asked.
  let worker = null, running = null;
  const waiting = [];
  const next = () => {
    while (!running && waiting.length) {
      const question = waiting.shift();
      if (question.signal?.aborted) continue;
      running = question;
      worker.postMessage(question.request);
    }
  };
  const fail = (words) => {
    worker?.terminate();
    worker = null;
    for (const question of [running, ...waiting.splice(0)]) question?.reject(new Error(words));
    running = null;
  };
  const begin = () => {
    worker = new Worker(new URL("worker.js", parts), { type: "module" });
    worker.onerror = (event) => fail(event.message || "it could not be loaded");
    worker.onmessage = ({ data }) => {
      if (data.fault) fail(data.fault);
      else if (data.answer) { const question = running; running = null; question.resolve(data.answer); next(); }
      else { const place = document.getElementById("starting"); if (place && data.stage) place.textContent = data.stage; }
    };
  };
  const exchange = (method, address, headers, body, signal) => new Promise((resolve, reject) => {
    const [path, query] = [address.split("?", 1)[0], address.slice(address.split("?", 1)[0].length + 1)];
    if (!worker) begin();
    waiting.push({ request: { method, path: decodeURIComponent(path), query, headers, body }, signal, resolve, reject });
    next();
  });

  class Answer {
    constructor({ status, headers, content }, address) { Object.assign(this, { status, address, content, headers: new Map(headers) }); }
    get(name) {
      const value = this.headers.get(name.toLowerCase()) ?? null;
      const address = value && /^(hx-push-url|hx-replace-url|hx-redirect|location)$/i.test(name) ? meant(value) : null;
      return address ? shown(address) : value;
    }
    get type() { return this.get("content-type") ?? ""; }
    get isPage() { return this.type.startsWith("text/html") && !this.get("content-disposition"); }
    get words() { return new TextDecoder().decode(this.content); }
    get page() { return rewritten(new DOMParser().parseFromString(this.words, "text/html")); }
    get text() { // with addresses as they are here
      if (!this.isPage) return this.words;
      if (/^\s*<(!doctype|html)/i.test(this.words)) return this.page.documentElement.outerHTML;
      const part = document.createElement("template");
      part.innerHTML = this.words;
      rewritten(part.content);
      return part.innerHTML;
    }
  }
  const ask = async (method, address, headers = [], body = null, signal = null) => {
    let answer = new Answer(await exchange(method, address, headers, body, signal), address);
    for (let turns = 0; answer.status >= 301 && answer.status <= 308 && answer.headers.has("location") && turns < 5; turns++) {
      const target = meant(answer.headers.get("location"));
      answer = new Answer(await exchange("GET", target, [], null, signal), target);
    }
    return answer;
  };
  const encoded = async (body) => {
    if (body === null || body === undefined) return [[], null];
    const response = new Response(body);
    const type = response.headers.get("content-type");
    return [type ? [["content-type", type]] : [], new Uint8Array(await response.arrayBuffer())];
  };

  // htmx asks by XMLHttpRequest; this one has what it uses of it.
  window.XMLHttpRequest = class extends EventTarget {
    upload = new EventTarget(); status = 0; readyState = 0; response = ""; responseText = ""; responseURL = ""; timeout = 0; withCredentials = false;
    onload = null; onerror = null; onabort = null; ontimeout = null;
    #method = "GET"; #address = "/"; #headers = []; #abort = new AbortController(); #answer = null;
    open(method, url) { this.#method = method.toUpperCase(); this.#address = meant(url).split("#", 1)[0]; this.readyState = 1; }
    overrideMimeType() {}
    setRequestHeader(name, value) { this.#headers.push([name, String(value)]); }
    getResponseHeader(name) { return this.#answer?.get(name) ?? null; }
    getAllResponseHeaders() { return [...(this.#answer?.headers.keys() ?? [])].map((name) => `${name}: ${this.#answer.get(name)}\r\n`).join(""); }
    #tell(name) { this[`on${name}`]?.(new Event(name)); this.dispatchEvent(new Event(name)); }
    abort() { if (this.readyState !== 4) { this.#abort.abort(); this.readyState = 4; this.#tell("abort"); this.#tell("loadend"); } }
    async send(body = null) {
      this.#tell("loadstart");
      try {
        const [type, bytes] = await encoded(body);
        const typed = this.#headers.some(([name]) => name.toLowerCase() === "content-type") ? [] : type;
        const answer = await ask(this.#method, this.#address, [...this.#headers, ...typed], bytes, this.#abort.signal);
        if (this.#abort.signal.aborted) return;
        this.#answer = answer;
        [this.status, this.response, this.responseText, this.responseURL, this.readyState] = [answer.status, answer.text, answer.text, new URL(shown(answer.address), location.href).href, 4];
        this.#tell("load");
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        console.error(error);
        this.readyState = 4;
        this.#tell("error");
      }
      this.#tell("loadend");
    }
  };

  // A whole page: what a browser does with an answer to a link or a form.
  let turn = 0;
  const loaded = (element) => new Promise((resolve, reject) => { element.onload = resolve; element.onerror = () => reject(new Error(`${element.src || element.href} is not there`)); });
  const show = async (page) => {
    document.activeElement?.blur();
    const has = (name, address) => [...document.querySelectorAll(name)].some((element) => new URL(element.href || element.src, location.href).href === new URL(address, location.href).href);
    [document.title, document.body.className] = [page.title, page.body.className];
    for (const meta of page.querySelectorAll("head meta[name]")) { document.head.querySelector(`meta[name="${meta.name}"]`)?.remove(); document.head.append(document.adoptNode(meta)); }
    for (const link of page.querySelectorAll('head link[rel="stylesheet"]')) {
      if (has("link[rel=stylesheet]", link.getAttribute("href"))) continue;
      const added = Object.assign(document.createElement("link"), { rel: "stylesheet", href: link.getAttribute("href") });
      document.head.append(added);
      await loaded(added);
    }
    const scripts = [...page.querySelectorAll("script[src]")].map((script) => script.getAttribute("src"));
    for (const script of page.querySelectorAll("script")) script.remove();
    const known = window.htmx;
    if (known) known.swap(document.body, page.body.innerHTML, { swapStyle: "innerHTML", swapDelay: 0, settleDelay: 0 });
    else document.body.replaceWith(document.adoptNode(page.body));
    for (const src of scripts) {
      if (has("script[src]", src)) continue;
      const script = Object.assign(document.createElement("script"), { src });
      document.head.append(script);
      await loaded(script);
    }
  };
  const save = (answer) => {
    const name = /filename="([^"]+)"/.exec(answer.get("content-disposition") ?? "")?.[1] ?? answer.address.split("?", 1)[0].split("/").pop();
    const url = URL.createObjectURL(new Blob([answer.content], { type: answer.type }));
    Object.assign(document.createElement("a"), { href: url, download: name || "plan.txt" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  };
  const visit = async (method, address, { headers = [], body = null, isNew = true, isFile = false } = {}) => {
    const mine = isFile ? turn : ++turn;
    const answer = await ask(method, address, headers, body);
    if (isFile || (!answer.isPage && answer.status < 400)) {
      save(answer);
      if (!document.getElementById("starting")) return undefined;
      history.replaceState(null, "", base); // a link to a file: nothing is shown yet
      return visit("GET", "/", { isNew: false });
    }
    if (mine !== turn) return undefined; // somebody went on meanwhile
    here = answer.address;
    if (isNew) history.pushState({ plan: true }, "", shown(here));
    await show(answer.isPage ? answer.page : page_of(answer.words));
    const place = location.hash && document.getElementById(location.hash.slice(1));
    if (place) place.scrollIntoView();
    else if (isNew) scrollTo(0, 0);
    return undefined;
  };
  const page_of = (words) => {
    const page = document.implementation.createHTMLDocument("plan");
    const main = page.body.appendChild(page.createElement("main"));
    main.appendChild(page.createElement("h1")).textContent = "plan";
    main.appendChild(page.createElement("p")).textContent = words;
    const link = main.appendChild(page.createElement("p")).appendChild(page.createElement("a"));
    [link.href, link.textContent] = [base, "Ask anew"];
    return page;
  };
  const broken = (error) => {
    console.error(error);
    return show(page_of(`This page could not go on (${error.message}). Load it again; it needs WebAssembly and workers of a browser of 2023 or later. In a terminal nothing of that is needed.`));
  };
  const go = (...question) => visit(...question).catch(broken);

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target && link.target !== "_self") return;
    const url = new URL(link.href);
    if (!isOurs(url) || (url.hash && asked(url) === here)) return;
    event.preventDefault();
    go("GET", asked(url), { isFile: link.hasAttribute("download") });
  });
  document.addEventListener("submit", async (event) => {
    if (event.defaultPrevented) return;
    const form = event.target, by = event.submitter;
    const action = new URL(by?.getAttribute("formaction") ?? form.getAttribute("action") ?? location.href, location.href);
    if (!isOurs(action)) return;
    event.preventDefault();
    const data = new FormData(form, by), method = (by?.getAttribute("formmethod") ?? form.method).toUpperCase();
    const pairs = () => new URLSearchParams([...data].map(([name, value]) => [name, typeof value === "string" ? value : value.name]));
    if (method !== "POST") return void go("GET", `${asked(action).split("?", 1)[0]}?${pairs()}`);
    const [headers, body] = await encoded(form.enctype === "multipart/form-data" ? data : pairs());
    go("POST", asked(action), { headers, body });
  });
  const follow = () => { here = asked(new URL(location.href)); };
  document.addEventListener("htmx:pushedIntoHistory", follow);
  document.addEventListener("htmx:replacedInHistory", follow);
  addEventListener("popstate", (event) => {
    event.stopImmediatePropagation(); // htmx would load the whole page again
    if (asked(new URL(location.href)) !== here) go("GET", asked(new URL(location.href)), { isNew: false });
  }, true);

  const complete = new Promise((resolve) => { if (document.readyState === "complete") resolve(); else addEventListener("load", resolve); }); // htmx starts at once only then
  complete.then(() => go("GET", here, { isNew: false }));
})();

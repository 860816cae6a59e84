// The application in a thread of its own, so that the page stays smooth. What it is asked comes one after the other (page.js).
import { loadPyodide } from "./pyodide/pyodide.mjs";

const nothing = { info: { abi_version: "2026_0", arch: "wasm32", platform: "emscripten", python: "3.14" }, packages: {} }; // no package is looked up anywhere
const fetched = async (name) => {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response.arrayBuffer();
};

const start = async () => {
  const here = new URL(".", import.meta.url).href;
  const archive = fetched("program.zip");
  const python = await loadPyodide({ indexURL: `${here}pyodide/`, packageBaseUrl: here, lockFileContents: nothing });
  postMessage({ stage: "Python runs; reading the catalogue." });
  python.unpackArchive(await archive, "zip");
  return python.pyimport("served").ask;
};

const ready = start();
ready.then(() => postMessage({ stage: "" }), (error) => postMessage({ fault: String(error.message ?? error) }));
onmessage = async ({ data: { method, path, query, headers, body } }) => {
  const ask = await ready;
  try {
    const result = await ask(method, path, query, headers, body);
    const [status, answered, content] = result.toJs();
    result.destroy();
    postMessage({ answer: { status, headers: answered, content } });
  } catch (error) {
    console.error(error);
    postMessage({ answer: { status: 500, headers: [["content-type", "text/plain"]], content: new TextEncoder().encode("this page has a fault") } });
  }
};

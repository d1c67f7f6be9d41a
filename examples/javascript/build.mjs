// Makes key-check.wasm: a JavaScript engine with policy.js in it, and the manifest.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { componentize } from "@bytecodealliance/componentize-js";

const OUTPUT = "key-check.wasm";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

const { component } = await componentize({
  sourcePath: path("policy.js"),
  witPath: path("wit"),
  worldName: "key-check",
  // A policy has none of these, whatever it asks for. Without them the component imports the policy's world and no more.
  disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
});

// Parsed and written anew, so that a mistake in it is found here.
const manifest = JSON.stringify(JSON.parse(await readFile(path("manifest.json"), "utf8")));
const bytes = Buffer.concat([component, customSection("portcullis:manifest", manifest)]);
await writeFile(path(OUTPUT), bytes);
console.log(`${OUTPUT}: ${(bytes.length / 1e6).toFixed(1)} MB`);

// A custom section of WebAssembly: its number (0), its size, its name with that one's size, and its content.
function customSection(name, content) {
  const body = Buffer.concat([leb128(Buffer.byteLength(name)), Buffer.from(name), Buffer.from(content)]);
  return Buffer.concat([Buffer.of(0), leb128(body.length), body]);
}

// A number in groups of seven bits, the lowest first; all but the last have the high bit set.
function leb128(number) {
  const bytes = [];
  for (; number > 127; number >>>= 7) {
    bytes.push((number & 127) | 128);
  }
  return Buffer.of(...bytes, number);
}

// Lets requests in that carry a known key, tells later policies and the access log whose it is, and keeps the key itself
// from the server.
import * as request from "portcullis:policy/request@0.1.0";
import * as exchange from "portcullis:policy/exchange@0.1.0";
import { log } from "portcullis:policy/log@0.1.0";

// What `configure` leaves here is in the memory of each instance from the start.
let header = "";
const names = new Map();

const encoder = new TextEncoder();

export const lifecycle = {
  // The settings satisfy the schema in manifest.json by the time they come here. What is thrown refuses them.
  configure(config) {
    const settings = JSON.parse(config);
    header = settings.header ?? "x-api-key";
    for (const [name, key] of Object.entries(settings.keys)) {
      if (names.has(key)) {
        throw `${name} and ${names.get(key)} have the same key`;
      }
      names.set(key, name);
    }
  },
};

export const requestHead = {
  onRequestHead: logged(() => {
    const key = request.header(header);
    if (key === undefined) {
      return refuse(401, "a key is needed\n");
    }
    const name = names.get(key);
    if (name === undefined) {
      return refuse(403, "this key is not known\n");
    }
    // An edit that the gateway refuses is thrown. Nothing here keeps it: a policy that fails lets nobody in.
    exchange.setAttribute("key-check.name", name);
    request.removeHeader(header);
    request.setHeader("x-client-name", encoder.encode(name));
    return { tag: "next" };
  }),
};

// A hook that logs what is thrown in it, with message and line, and throws it on. The gateway itself learns no more of an
// exception than that the engine has ended the call.
function logged(hook) {
  return (...parameters) => {
    try {
      return hook(...parameters);
    } catch (error) {
      const what = error?.payload === undefined ? String(error) : `${error}: ${JSON.stringify(error.payload)}`;
      log("error", what, error?.stack ? [["stack", error.stack]] : []);
      throw error;
    }
  };
}

function refuse(status, text) {
  const headers = [{ name: "content-type", value: encoder.encode("text/plain; charset=utf-8") }];
  return { tag: "reply", val: { status, headers, body: encoder.encode(text) } };
}

// Lets requests in that carry a known key, tells later policies and the access log whose it is, and keeps the key itself
// from the server.
import * as request from "portcullis:policy/request@0.2.1";
import * as exchange from "portcullis:policy/exchange@0.2.1";

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
  onRequestHead: failing(() => {
    const key = request.header(header);
    if (key === undefined) {
      return refuse(401, "a key is needed\n");
    }
    const name = names.get(key);
    if (name === undefined) {
      return refuse(403, "this key is not known\n");
    }
    // An edit that the gateway refuses is thrown, and fails the hook: a policy that fails lets nobody in.
    exchange.setAttribute("key-check.name", name);
    request.removeHeader(header);
    request.setHeader("x-client-name", name);
  }),
};

// A hook that fails with the message and the stack of what is thrown in it: the gateway logs them as the policy's fault.
// Without this it would learn no more of an exception than that the engine has ended the call.
function failing(hook) {
  return () => {
    try {
      hook();
    } catch (error) {
      const what = error?.payload === undefined ? String(error) : `${error}: ${JSON.stringify(error.payload)}`;
      throw error?.stack ? `${what} at ${error.stack}` : what;
    }
  };
}

function refuse(status, text) {
  const headers = [["content-type", "text/plain; charset=utf-8"]];
  exchange.reply(status, headers, encoder.encode(text));
}

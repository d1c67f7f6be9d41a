"""Does what the field x-do of a request says: see ../conformance.cases.toml."""

import portcullis
from portcullis import (
    Refused, body, clock, crypto, exchange, http_client, log, matchers, metrics, outcome, random, rate_limit, request,
    response, secrets, store,
)

greeting = "hello"
networks = 0


def configure(settings):
    global greeting, networks
    greeting = settings.get("greeting", greeting)
    if greeting == "":
        raise ValueError("/greeting: it is empty: ✗")
    networks = matchers.make_network_set("192.168.0.0/16\n10.0.0.0/8\n")


def on_request_head():
    query = request.query()
    exchange.set_state(f"{request.method()} {request.path()} ({query or ''})".encode())
    does = DOES.get(request.header("x-do"))
    if does:
        result = does()
        if result is not None:
            exchange.set_attribute("result", result)


def on_request_body():
    if request.header("x-do") != "upper":
        return
    if not body.is_last():
        return body.collect()
    size = body.size()
    body.replace(size, body.read(0, size).upper())


def on_response_head():
    response.set_header("x-greeting", greeting)
    response.set_header("x-state", exchange.state().decode())


def on_response_body():
    if request.header("x-do") == "stream" and body.size():
        size = body.size()
        body.replace(size, b"[" + body.read(0, size) + b"]")


def on_completed():
    exchange.set_attribute("done", str(outcome.status()))


def kind(error):
    """`Refused_TooLarge` of the bindings is `too-large`."""
    name = type(error.value).__name__.rsplit("_", 1)[-1]
    words = "".join("-" + letter.lower() if letter.isupper() else letter for letter in name).removeprefix("-")
    text = getattr(error.value, "value", None)
    return f"{words}: {text}" if text else words


def refused(call):
    try:
        call()
    except Refused as error:
        return kind(error)
    return "done"


def edit():
    request.set_header("x-a", "1")
    request.append_header("x-a", "zwölf")
    request.remove_header("x-gone")
    request.set_path_and_query("/new?q=1")


def binary():
    request.set_header_bytes("x-bin", b"\xffa")
    return f"{request.header('x-bin')} {len(request.header_bytes('x-bin'))}"


def fail():
    raise ValueError("it failed: größer ✗")


def crash():
    return None + 1


def loop():
    while True:
        pass


def allocate():
    everything = []
    while True:
        everything.append(bytearray(1 << 20))


def logs():
    log.log(log.Level.INFO, "eine Zeile ✓", [])
    log.log(log.Level.WARN, "another", [("key", "wört")])


def count():
    metrics.add(metrics.counter("seen", [("label", "wert")]), 2)
    metrics.observe(metrics.histogram("size", []), 1.5)


def secret():
    known, unknown = secrets.get("password"), secrets.get("other")
    return f"{known.decode()} {unknown or 'none'}"


def rate():
    verdict = rate_limit.check("me", rate_limit.Quota(1, 1000, 0), 1)
    return f"{str(verdict.allowed).lower()} {verdict.remaining} {verdict.retry_after_ms}"


def stored():
    before = store.get("wert")
    store.set("wert", b"wert", None)
    number = store.increment("zahl", 1, 60000)
    names = ",".join(store.list(""))
    return f"{before or 'none'} {store.get('wert').decode()} {number} {names} " + refused(
        lambda: store.increment("wert", 1, None)
    )


def digest():
    return crypto.digest("sha-256", b"abc").hex()[:8] + " " + refused(lambda: crypto.digest("md5", b""))


def json_values():
    document = '{"a": {"b": "ü"}, "c": [1.5, true, null]}'.encode()
    values = matchers.read_json(document, ["/a/b", "/c/0", "/c/1", "/c/2", "/d"])
    shown = []
    for value in values:
        if value is None:
            shown.append("none")
            continue
        name = type(value).__name__.removeprefix("JsonValue_").lower()
        held = getattr(value, "value", None)
        shown.append(name if held is None else f"{name} {str(held).lower() if isinstance(held, bool) else held}")
    return ", ".join(shown)


def network():
    found = matchers.find_client(networks)
    return "none" if found is None else str(found)


def ask():
    try:
        answer = http_client.send(http_client.Outbound("GET", "https://auth.internal/check", [("x-a", "b")], b"", []))
    except Refused as error:
        return kind(error)
    fields = " ".join(f"{name}={value}" for name, value in answer.headers)
    return f"{answer.status} {fields} {answer.body.decode()}"


DOES = {
    "edit": edit,
    "reply": lambda: portcullis.reply(403, "unmöglich ✗\n", [("x-why", "weil")]),
    "binary": binary,
    "forbidden": lambda: refused(lambda: request.set_header("transfer-encoding", "chunked")),
    "fail": fail,
    "crash": crash,
    "loop": loop,
    "allocate": allocate,
    "log": logs,
    "clock": lambda: str(clock.now_ms()),
    "random": lambda: f"{len(random.bytes(16))} " + refused(lambda: random.bytes(5000)),
    "metrics": count,
    "secret": secret,
    "rate": rate,
    "store": stored,
    "digest": digest,
    "json": json_values,
    "network": network,
    "ask": ask,
}

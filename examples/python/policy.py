"""Lets requests in that carry a known key, tells later policies and the access log whose it is, and keeps the key itself
from the server."""

import json
import traceback

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import exchange, request

# What `configure` leaves here is in the memory of each instance from the start.
header = ""
names: dict[str, str] = {}


class Lifecycle(exports.Lifecycle):
    def configure(self, config: str) -> None:
        # The settings satisfy the schema in manifest.json by the time they come here. An `Err` refuses them.
        global header
        settings = json.loads(config)
        header = settings.get("header", "x-api-key")
        for name, key in settings["keys"].items():
            if key in names:
                raise Err(f"{name} and {names[key]} have the same key")
            names[key] = name


class RequestHead(exports.RequestHead):
    def on_request_head(self) -> None:
        # An exception fails the hook, and the gateway logs it as the policy's fault: a policy that fails lets nobody in.
        try:
            self.check()
        except Exception as error:
            raise Err("".join(traceback.format_exception(error)))

    def check(self) -> None:
        key = request.header(header)
        if key is None:
            return refuse(401, "a key is needed\n")
        name = names.get(key)
        if name is None:
            return refuse(403, "this key is not known\n")
        # An edit that the gateway refuses is raised.
        exchange.set_attribute("key-check.name", name)
        request.remove_header(header)
        request.set_header("x-client-name", name)


def refuse(status: int, text: str) -> None:
    headers = [("content-type", "text/plain; charset=utf-8")]
    exchange.reply(status, headers, text.encode())

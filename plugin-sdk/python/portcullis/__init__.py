"""Policies for the gateway Portcullis in Python.

A policy is a module `policy.py`. Each hook is a function in it: `configure(settings)`, `on_request_head()`,
`on_request_body()`, `on_response_head()`, `on_response_body()`, `on_completed()` and `on_tick()`.

What a hook asks of the gateway is in modules of the names of the contract's interfaces, with `_` for `-`:

    from portcullis import exchange, request

Those that are capabilities, such as `log` and `store`, are named under `capabilities` in manifest.json as well. What the
gateway refuses is raised as `Refused`.
"""

import importlib

from componentize_py_types import Err as Refused
from wit_world.imports import exchange as _exchange

__all__ = ["Refused", "reply"]


def __getattr__(name):
    """An interface of the contract, imported when it is first named: a policy does so when its component is built."""
    try:
        return importlib.import_module(f"wit_world.imports.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(
            f"there is no interface {name}, or manifest.json does not name it under `capabilities`"
        ) from error


def reply(status, text, headers=()):
    """Answers the client with a text in place of going on."""
    fields = [("content-type", "text/plain; charset=utf-8"), *headers]
    _exchange.reply(status, fields, text.encode())

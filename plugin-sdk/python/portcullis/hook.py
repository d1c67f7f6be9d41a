"""Runs the hooks of a policy. It is for the module that `portcullis plugin build` generates."""

import json
import traceback

from componentize_py_types import Err


def run(hook):
    """Calls a hook. What it raises is its failure, with the traceback."""
    try:
        hook()
    except Exception as error:
        raise Err(_failure(error)) from None


def configure(hook, config):
    """Calls `configure` with the settings. A `ValueError` or what was refused is said without a traceback."""
    try:
        hook(json.loads(config))
    except ValueError as error:
        raise Err(str(error)) from None
    except Exception as error:
        raise Err(_failure(error)) from None


def _failure(error):
    # The frames of this module are of no use to the author.
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    lines = traceback.format_exception(type(error), error, trace)
    if isinstance(error, Err):
        lines.append(f"refused: {error.value}\n")
    return "".join(lines)

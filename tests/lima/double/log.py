"""How the double speaks: lines on stderr as logrus writes them, and the error that ends a command.

Enters: a level, a message, fields. Leaves: one line. Knows nothing of instances.
"""

import datetime
import json
import re
import sys

LEVELS = ["debug", "info", "warning", "error", "fatal"]
LOG = {"format": "text", "level": "info"}


class Failure(Exception):
    """Ends the command with this message."""


def log(level, message, **fields):
    """One line on stderr, as logrus writes it."""
    if LEVELS.index(level) < LEVELS.index(LOG["level"]):
        return
    moment = datetime.datetime.now().astimezone().isoformat(timespec="seconds").replace("+00:00", "Z")
    if LOG["format"] == "json":
        record = sorted({**fields, "level": level, "msg": message, "time": moment}.items())
        line = json.dumps(dict(record), separators=(",", ":"), ensure_ascii=False)
    else:
        words = {"msg": message, **dict(sorted(fields.items()))}
        line = f'time="{moment}" level={level} ' + " ".join(f"{key}={quoted(value)}" for key, value in words.items())
    print(line, file=sys.stderr, flush=True)


def quoted(text):
    return text if re.fullmatch(r"[A-Za-z0-9._/@^+-]*", text) else json.dumps(text, ensure_ascii=False)

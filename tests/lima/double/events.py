"""What a host agent says, followed from outside: its log lines and its events, as they are written.

Enters: an instance's folder, and the states waited for. Leaves: repeated log lines, and the state that came.
"""

import json
import os
import time
from datetime import datetime

from double.log import Failure, log


def watch(folder, begin, limit, awaited, agent=None):
    """Repeats what the host agent logs until an event has one of the awaited states, which it gives back."""
    with open(folder / "ha.stdout.log", "rb") as events, open(folder / "ha.stderr.log", "rb") as lines:
        while time.time() < begin + limit:
            for record in new_records(lines):
                if moment(record.pop("time", None)) >= begin - 1 and record["level"] != "debug":
                    level, message = record.pop("level"), record.pop("msg")
                    log("error" if level == "fatal" else level, f"[hostagent] {message}", **record)
            for event in new_records(events):
                status = event["status"] if moment(event["time"]) >= begin else {}
                if status.keys() == {"sshLocalPort"}:
                    log("info", f"SSH Local Port: {status['sshLocalPort']}")
                if status.keys() & set(awaited):
                    return status
            if agent and agent.poll() is not None:
                raise Failure(f"host agent process has exited: exit status {agent.returncode}")
            time.sleep(0.05)
    return None


def new_records(stream):
    """The lines that arrived in full since the last time; one that is not JSON is a message."""
    while line := stream.readline():
        if not line.endswith(b"\n"):
            stream.seek(-len(line), os.SEEK_CUR)
            break
        try:
            yield json.loads(line)
        except ValueError:
            yield {"level": "info", "msg": line.decode(errors="replace").rstrip()}


def moment(text):
    return datetime.fromisoformat(text).timestamp() if text else time.time()

#!/usr/bin/env python3
"""Plays a QEMU whose memory can be written and read: qmp.py -pidfile INSTANCE/qemu.pid PLAY. One client at a time."""

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

instance, play = Path(sys.argv[2]).parent, Path(sys.argv[3])
memory = play / "guests" / instance.name / "memory"
launch = instance / "launch.json"
wakes = launch.exists() and json.loads(launch.read_text()).get("wakes")
state = {"status": "inmigrate" if wakes else "running", "migration": "none", "pipe": None}


def note(text):
    with open(play / "log", "a", encoding="utf-8") as log:
        log.write(f"qemu {text}\n")


def knob(name):
    return (play / "knobs" / name).exists()


def work():
    # A build in the guest.
    while True:
        if not knob("busy"):
            time.sleep(0.1)


threading.Thread(target=work, daemon=True).start()


def pause(name):
    if knob(name):
        (play / f"reached-{name}").touch()
    while knob(name):
        time.sleep(0.01)


def write():
    try:
        with os.fdopen(state["pipe"], "wb") as pipe:
            content = memory.read_bytes()
            pipe.write(content[: len(content) // 2])
            pipe.flush()
            pause("pause-migrate")
            if knob("fail-migrate"):
                raise OSError
            pipe.write(content[len(content) // 2 :])
        state.update(status="postmigrate", migration="completed")
    except OSError:
        state["migration"] = "failed"


def read():
    with os.fdopen(state["pipe"], "rb") as pipe:
        content = pipe.read()
    # One that has none goes on from another's.
    if (memory.exists() and content != memory.read_bytes()) or not content or knob("refuse-memory"):
        os._exit(1)
    pause("pause-incoming")
    state.update(status="paused", migration="completed")


def begin(work):
    state["migration"] = "active"
    threading.Thread(target=work, daemon=True).start()


def end():
    # Lima's host agent ends with its QEMU.
    try:
        os.kill(int((instance / "ha.pid").read_text()), signal.SIGKILL)
    except (OSError, ValueError):
        pass
    os._exit(0)


def answer(command):
    if command == "query-status":
        if state["status"] == "paused":
            pause("pause-paused")
        return {"status": state["status"], "running": state["status"] == "running"}
    if command == "query-migrate":
        return {"status": state["migration"]}
    if command == "query-block":
        return [{"device": "boot-disk", "inserted": {"file": str(instance / "disk")}}]
    if command == "query-version":
        pause("pause-version")
        return {"qemu": {"major": 9, "minor": 1, "micro": 0}, "package": ""}
    if command == "migrate":
        begin(write)
    elif command == "migrate-incoming":
        begin(read)
    elif command == "block_resize":
        note("grows the disk")
    elif command == "cont":
        note("goes on")
        state["status"] = "running"
        pause("pause-step")
    return {}


def serve(client):
    client.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\r\n')
    buffer = b""
    while True:
        data, fds, _, _ = socket.recv_fds(client, 65536, 1)
        if not data:
            return
        if fds:
            state["pipe"] = fds[0]
        buffer += data
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            command = json.loads(line)["execute"]
            client.sendall(json.dumps({"return": answer(command)}).encode() + b"\r\n")
            if command == "quit":
                note("ends")
                end()


if not wakes and not memory.exists():
    memory.write_bytes(b"a guest's canary " * 10 + os.urandom(3_000_000))
threading.Timer(600, os._exit, [0]).start()
server = socket.socket(socket.AF_UNIX)
# A socket's path is short, so it is named from where it lies.
os.chdir(instance)
Path("qmp.sock").unlink(missing_ok=True)
server.bind("qmp.sock")
server.listen(1)
while True:
    connection = server.accept()[0]
    try:
        serve(connection)
    except OSError:
        pass
    connection.close()

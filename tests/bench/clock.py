#!/usr/bin/env python3
"""Times programs more exactly than a shell can.

    clock.py end [--output FILE] -- COMMAND...      seconds until it ends
    clock.py byte -- COMMAND...                     seconds until the first byte of its standard output
    clock.py reads FILE SECONDS                     random reads of 4 KiB a second from FILE, past the page cache

The time is that of the whole process, from before it is started. What it prints goes to FILE or nowhere; its input
is empty, and for `byte` one `echo`. A status other than 0 ends the measurement.
"""

import mmap
import os
import random
import subprocess
import sys
import time

BLOCK = 4096
ECHO = b"echo first\n"


def until_end(command, output):
    with open(output, "wb") as sink:
        begin = time.perf_counter()
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sink).returncode
        passed = time.perf_counter() - begin
    if code != 0:
        raise SystemExit(f"clock.py: {command[0]} ended with {code}")
    return passed


def until_first_byte(command):
    begin = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        process.stdin.write(ECHO)
        first = process.stdout.read(1)
        passed = time.perf_counter() - begin
        process.stdin.close()
        process.stdout.read()
    if not first or process.returncode != 0:
        raise SystemExit(f"clock.py: {command[0]} ended with {process.returncode}")
    return passed


def reads_per_second(path, seconds):
    """Aligned reads at random places, one after another, into one aligned page."""
    direct = getattr(os, "O_DIRECT", 0)
    file = os.open(path, os.O_RDONLY | direct)
    if not direct:
        import fcntl

        fcntl.fcntl(file, fcntl.F_NOCACHE, 1)
    blocks = os.fstat(file).st_size // BLOCK
    page = mmap.mmap(-1, BLOCK)
    places = random.Random(1)
    count, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + seconds:
        os.preadv(file, [page], places.randrange(blocks) * BLOCK)
        count += 1
    return count / (time.perf_counter() - begin)


def main(words):
    end = words.index("--") if "--" in words else len(words)
    before, command = words[:end], words[end + 1 :]
    if command and before[:1] == ["end"] and len(before) in (1, 3):
        print(f"{until_end(command, before[2] if len(before) == 3 else os.devnull):.6f}")
    elif command and before == ["byte"]:
        print(f"{until_first_byte(command):.6f}")
    elif before[:1] == ["reads"] and len(before) == 3:
        print(f"{reads_per_second(before[1], float(before[2])):.0f}")
    else:
        raise SystemExit(__doc__)


main(sys.argv[1:])

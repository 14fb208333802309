#!/usr/bin/env python3
"""Opens the encrypted memory of a machine that sleeps: open-memory.py KEY IMAGE >MEMORY. Needs openssl and zstd.

The form is that of src/lima/asleep/stream.rs: libsodium's secretstream. It is written down a second time here, so that
a test needs no door in the program. Nothing is authenticated: whoever asks has made the image itself.
"""

import struct
import subprocess
import sys

MAGIC = b"machine memory 1"
TAG, MAC = 1, 16


def quarter(x, a, b, c, d):
    for p, q, r, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[p] = (x[p] + x[q]) & 0xFFFFFFFF
        word = x[r] ^ x[p]
        x[r] = (word << n | word >> 32 - n) & 0xFFFFFFFF


def hchacha20(key, nonce):
    x = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))
    for _ in range(10):
        for column in range(4):
            quarter(x, column, 4 + column, 8 + column, 12 + column)
        for row in range(4):
            quarter(x, row, 4 + (row + 1) % 4, 8 + (row + 2) % 4, 12 + (row + 3) % 4)
    return struct.pack("<8I", *x[:4], *x[12:])


def chacha20(key, nonce, block, data):
    words = ["openssl", "enc", "-d", "-chacha20", "-K", key.hex(), "-iv", (struct.pack("<I", block) + nonce).hex()]
    return subprocess.run(words, input=data, stdout=subprocess.PIPE, check=True).stdout


def pieces(key, image):
    assert image.read(len(MAGIC)) == MAGIC
    head = image.read(24)
    key, number, rest = hchacha20(key, head[:16]), 1, head[16:]
    while length := image.read(4):
        sealed = image.read(struct.unpack(">I", length)[0])
        mac = sealed[-MAC:]
        yield chacha20(key, struct.pack("<I", number) + rest, 2, sealed[TAG:-MAC])
        rest = bytes(a ^ b for a, b in zip(rest, mac))
        number += 1


with open(sys.argv[1], "rb") as file:
    secret = file.read()
with open(sys.argv[2], "rb") as memory, subprocess.Popen(["zstd", "-dqc"], stdin=subprocess.PIPE) as zstd:
    for piece in pieces(secret, memory):
        zstd.stdin.write(piece)

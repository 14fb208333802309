"""listener.py PORT PIDFILE: answers `here` on every address of this computer, TCP and UDP, IPv4 and IPv6."""
import os
import selectors
import socket
import sys

port = int(sys.argv[1])
selector = selectors.DefaultSelector()
for family, address in (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"):
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        try:
            listener = socket.socket(family, kind)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
        except OSError:
            continue
        if kind == socket.SOCK_STREAM:
            listener.listen()
        selector.register(listener, selectors.EVENT_READ, kind)
with open(sys.argv[2], "w", encoding="ascii") as file:
    file.write(f"{os.getpid()}\n")
while True:
    for key, _ in selector.select():
        if key.data == socket.SOCK_STREAM:
            connection = key.fileobj.accept()[0]
            connection.sendall(b"here")
            connection.close()
        else:
            key.fileobj.sendto(b"here", key.fileobj.recvfrom(16)[1])

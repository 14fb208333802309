"""proxy.py PORT: an http proxy at 127.0.0.1 that answers every request itself, with the address that was asked for."""
import http.server
import sys


class Proxy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"by the proxy: {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Proxy).serve_forever()

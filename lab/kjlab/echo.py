# SPDX-License-Identifier: GPL-2.0
"""An echo server on the host for the guests' TCP connections.

A guest reaches it through either card: 10.0.2.2:PORT and 10.0.3.2:PORT.
"""
import socketserver
import threading


class EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Echo)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(4096):
                self.request.sendall(data)
        except OSError:
            pass        # the guest was ended

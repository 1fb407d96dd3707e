"""A receiver of webhooks: believes only what is signed, and handles each event once.

SECRET=whsec_... python examples/webhook_receiver.py
"""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

LARGEST = 64 * 1024
webhook = Webhook(os.environ["SECRET"])
handled: set[str] = set()  # in a database, in earnest: an event may come again, also after a restart


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), LARGEST))
        try:
            event = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError as error:
            return self.answer(400, f"refused: {error}")
        if event["id"] not in handled:
            handled.add(event["id"])
            print(event["type"], event["data"]["id"], flush=True)
        return self.answer(204)  # within 15 s: do what takes longer afterwards

    def answer(self, status: int, why: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(why)))
        self.end_headers()
        self.wfile.write(why.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Only events are news."""


with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Receiver) as server:
    server.serve_forever()

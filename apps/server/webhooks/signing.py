"""Signatures of the Standard Webhooks scheme, version 1: HMAC-SHA256 over id, time and body, as the clients' libraries check them."""

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"


def new_secret() -> str:
    """Return a fresh secret of 256 bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def headers(keys: list[str], event_id: str, now: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove `body`, one signature for each secret."""
    signed = b".".join((event_id.encode(), str(now).encode(), body))
    digests = [hmac.new(base64.b64decode(key.removeprefix(PREFIX)), signed, hashlib.sha256).digest() for key in keys]
    signatures = " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return {"webhook-id": event_id, "webhook-timestamp": str(now), "webhook-signature": signatures}

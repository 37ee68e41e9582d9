"""How is a private REST request signed? The one formula, over the exact bytes that are sent.

API-Sign = base64(HMAC-SHA512(base64decode(secret), path + SHA256(nonce text + body))).
Source: Kraken, "Spot REST authentication". The only file that opens a secret to compute with it.
Left out: where keys come from (keys.py) and which nonce (nonce.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from adapters.kraken.keys import Secret
from engine.errors import SecretError


def sign(secret: Secret, path: str, nonce: str, body: bytes) -> str:
    """The header `API-Sign` of one request.

    path : URI path with its version, as in `/0/private/Balance`, without host and query
    nonce : the decimal text that `body` carries as well
    body : the exact bytes sent, a form or JSON
    raises SecretError where the secret is not base64, without showing it
    """
    try:
        key = base64.b64decode(secret.reveal(), validate=True)
    except (binascii.Error, ValueError):
        # `from None`: the cause would carry the secret into a traceback.
        raise SecretError(
            "the private key cannot be decoded.", "Copy it again from Kraken, whole."
        ) from None
    digest = hashlib.sha256(nonce.encode() + body).digest()
    mac = hmac.new(key, path.encode() + digest, hashlib.sha512)
    return base64.b64encode(mac.digest()).decode()

"""PURE: public keys that tokens can be checked by, and the algorithms that each is good for.

The key decides the algorithm (RFC 8725 3.1): its type, the size of an RSA key, the curve.
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_public_key

MIN_RSA_BITS = 2048

RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
EDWARDS = frozenset({"EdDSA"})
CURVES = {
    "secp256r1": frozenset({"ES256"}),
    "secp384r1": frozenset({"ES384"}),
    "secp521r1": frozenset({"ES512"}),
}


def read_public_key(pem: str) -> PublicKeyTypes:
    """Return the key of a PEM.

    Raises:
        ValueError: it holds none that tokens can be checked by; the message says why.
    """
    if "PRIVATE KEY" in pem:
        raise ValueError("is a private key; give the public one")
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("is no public key in PEM") from error
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key needs at least {MIN_RSA_BITS} bits")
    if not algorithms_of(key):
        raise ValueError("no algorithm of tokens uses such a key")
    return key


def algorithms_of(key: object) -> frozenset[str]:
    """Return what a public key can check; nothing if it is weak, private or no public key."""
    match key:
        case RSAPublicKey() if key.key_size >= MIN_RSA_BITS:
            return RSA
        case EllipticCurvePublicKey():
            return CURVES.get(key.curve.name, frozenset())
        case Ed25519PublicKey() | Ed448PublicKey():
            return EDWARDS
        case _:
            return frozenset()

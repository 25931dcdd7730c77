"""moto with one correction: `Sign` of the KMS honours MessageType.

moto 5.2.1 takes every message for RAW and hashes it; AWS signs a DIGEST as it is
(https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html). A wallet only ever signs digests.
"""

import sys
import threading

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.kms import responses
from moto.kms.utils import ECDSAPrivateKey
from moto.server import main

# A request is answered on one thread.
request = threading.local()
answer = responses.KmsResponse.sign
sign_raw = ECDSAPrivateKey.sign


def sign_request(self):
    request.is_digest = self._get_param("MessageType") == "DIGEST"
    return answer(self)


def sign(self, message, algorithm):
    if not request.is_digest:
        return sign_raw(self, message, algorithm)
    return self.private_key.sign(message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


responses.KmsResponse.sign = sign_request
ECDSAPrivateKey.sign = sign
main(sys.argv[1:])

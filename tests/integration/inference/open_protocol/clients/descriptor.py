"""The messages of tritonclient as JSON: the serialised files of its descriptor, in base64."""

import base64
import json

from tritonclient.grpc import model_config_pb2, service_pb2

if __name__ == "__main__":
    files = (model_config_pb2.DESCRIPTOR, service_pb2.DESCRIPTOR)
    print(json.dumps([base64.b64encode(one.serialized_pb).decode() for one in files]))

"""`python -m benchmarks.load grpc|openai ADDRESS MODEL`: a load client in a process of its own."""

import argparse
from functools import partial

from benchmarks.load.grpc_stream import GrpcStreams
from benchmarks.load.openai_stream import OpenAiStreams
from benchmarks.load.playing import play_in_threads, serve_scripts

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=["grpc", "openai"])
    parser.add_argument("address")
    parser.add_argument("model")
    options = parser.parse_args()
    streams = (GrpcStreams if options.protocol == "grpc" else OpenAiStreams)(options.address, options.model)
    serve_scripts(partial(play_in_threads, stream=streams))

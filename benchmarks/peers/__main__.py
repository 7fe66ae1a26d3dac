"""`python -m benchmarks.peers [vllm] [openvino] [ingestion]`: installs what we are compared with, each in its own environment."""

import argparse
import subprocess
import sys

from benchmarks.peers.environments import PEERS, install, peers_folder

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(PEERS)}; all when none is named")
    options = parser.parse_args()
    strange = sorted(set(options.peers) - set(PEERS))
    if strange:
        parser.error(f"no peer is called {strange[0]!r}; there are {', '.join(PEERS)}")
    failed = False
    for peer in options.peers or PEERS:
        try:
            built = install(peer)
            print(f"{peer}: {'installed' if built else 'was there'} in {peers_folder() / peer}", file=sys.stderr)
        except subprocess.CalledProcessError as error:
            failed = True
            print(f"{peer}: {error}", file=sys.stderr)
    sys.exit(failed)

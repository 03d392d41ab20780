"""A peer that takes the connection and never says a word.

manner: still
"""

import socket
import subprocess
import sys

PEER = """
import signal, socket
with socket.socket() as door:
    door.bind(("127.0.0.1", 0))
    door.listen()
    print(door.getsockname()[1], flush=True)
    guest, _ = door.accept()
    while True: signal.pause()
"""
with subprocess.Popen((sys.executable, "-c", PEER), stdout=subprocess.PIPE) as peer:
    assert peer.stdout is not None
    with socket.create_connection(("127.0.0.1", int(peer.stdout.readline()))) as line:
        print("stands", flush=True)
        line.recv(1)

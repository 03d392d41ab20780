"""A child that waits for its input, which its parent does not close before it has waited for the child.

manner: still
"""

import subprocess

with subprocess.Popen(("cat",), stdin=subprocess.PIPE) as child:
    print("stands", flush=True)
    child.wait()

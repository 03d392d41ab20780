"""Many short children, one after the other."""

import subprocess
from time import monotonic, sleep

end = monotonic() + 9
while monotonic() < end:
    subprocess.run(("true",), check=True)
    sleep(0.2)
print("done", flush=True)

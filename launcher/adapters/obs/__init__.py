"""OBS, and any other store that speaks S3, through obstore; keys that it cannot address go to the engine handed in.

Call it from worker threads only: while obstore waits, the main thread's signal handlers would wait too.
"""

from launcher.adapters.obs.settings import Credentials, Settings
from launcher.adapters.obs.store import ObsStore, OddKeys

__all__ = ["Credentials", "ObsStore", "OddKeys", "Settings"]

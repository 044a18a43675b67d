"""Settings shared by every test: the Hypothesis profiles.

`HYPOTHESIS_PROFILE=deep` (what `make test-deep` sets) tries many more examples than a normal run.
"""

import os

from hypothesis import settings

settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("deep", deadline=None, print_blob=True, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

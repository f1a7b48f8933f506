"""Never answers, reads nothing."""

import time

time.sleep(3600)

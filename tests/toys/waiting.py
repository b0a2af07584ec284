"""A plugin file for the tests: after step 5 training waits until Ctrl-C was pressed WAIT_FOR times."""

import os
import signal
import time

from t2ikit import hookimpl

WAIT_FOR = int(os.environ.get("WAIT_FOR", "0"))


@hookimpl
def t2ikit_step_end(step):
    if step != 5 or not WAIT_FOR:
        return
    pressed = []
    heed = signal.getsignal(signal.SIGINT)

    def count(number, frame):
        pressed.append(number)
        heed(number, frame)

    signal.signal(signal.SIGINT, count)
    print("waiting for Ctrl-C")
    while len(pressed) < WAIT_FOR:
        time.sleep(0.02)

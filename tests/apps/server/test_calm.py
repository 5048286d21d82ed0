"""While a model is loaded the event loop goes on: what would hold the interpreter's lock for long is not done, or done without it.

How long requests do wait is for tests/bench/serve.py loading to say; a test on a busy machine would measure the machine.
"""

import gc
import subprocess
import sys

import pytest

from apps.server import calm

LOADS = """if True:
    import asyncio, gc, sys
    from pathlib import Path
    from apps.server.settings import Settings
    from apps.server.warm import Warm

    collected, mapped = [], []
    gc.callbacks.append(lambda when, info: collected.append(info["generation"]))

    def hear(event, given):
        if event == "import" and given[0] == "torch._C":
            mapped.append("libtorch_cpu" in Path("/proc/self/maps").read_text())

    sys.addaudithook(hear)
    warm = Warm(Settings())
    asyncio.run(warm.chat("starter"))
    print(collected.count(2), mapped[0], gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has mapped is read as Linux shows it")
def test_a_first_load_collects_nothing_links_torch_ahead_and_leaves_little_to_look_through(server_home):
    ran = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "True", "True", "True"]


def test_collections_begin_again_after_the_last_load_even_a_failed_one():
    with calm.loading():
        with pytest.raises(ZeroDivisionError), calm.loading():
            raise ZeroDivisionError
        assert not gc.isenabled()
    assert gc.isenabled()

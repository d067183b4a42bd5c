"""The server as a process of its own."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).parent.parent


@contextlib.contextmanager
def server(model_dir, *options, **environment):
    """A server; gives its process and address."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "planet_tf.serve",
            f"--model_dir={model_dir}",
            "--port=0",
            *options,
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if ready := re.search(r"ready: (http\S+)/$", line):
                break
        else:
            raise AssertionError("".join(said))
        reader = threading.Thread(
            target=lambda: said.extend(process.stderr), daemon=True
        )
        reader.start()
        process.said = said
        yield process, ready[1]
    finally:
        process.kill()
        process.wait()

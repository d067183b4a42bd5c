"""Runs a pipeline that was staged for Dataflow, as a worker there would.

python tests/replay.py STAGED WORK
"""

import pathlib
import shutil
import sys


def main() -> None:
    """Runs STAGED/pipeline.pb with the code of STAGED/workflow.tar.gz only."""
    staged, work = map(pathlib.Path, sys.argv[1:])
    sys.path.pop(0)  # the directory of this file
    shutil.unpack_archive(staged / "workflow.tar.gz", work)
    [source] = work.iterdir()
    sys.path.insert(0, str(source))

    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability import python_urns
    from apache_beam.portability.api import beam_runner_api_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    assert "beam_pipelines" not in sys.modules
    pipeline = beam_runner_api_pb2.Pipeline.FromString(
        (staged / "pipeline.pb").read_bytes()
    )
    for environment in pipeline.components.environments.values():
        environment.urn = python_urns.EMBEDDED_PYTHON
    result = FnApiRunner().run_via_runner_api(pipeline, PipelineOptions())
    assert result.wait_until_finish() == "DONE"
    for name in ("beam_pipelines", "planet_tf"):
        assert sys.modules[name].__file__.startswith(str(source)), name


if __name__ == "__main__":
    main()

"""A server that says where photos were taken.

python -m planet_tf.serve --model_dir=DIR [--port=8765] [--min_cell_km=KM]

Answers photos and albums at /api/locate, TensorFlow Serving's clients at
/v1/models/planet:predict, /healthz, /metrics (Prometheus) and /openapi.json;
see docs/serving.md. It stores and logs nothing of a photo, and listens on this
machine alone unless --host says otherwise. SIGTERM ends it when what it has
accepted is answered.
"""

import signal
import socket
import sys
import warnings
from collections.abc import Sequence

from planet_tf import config_flags
from planet_tf.options.asking_config import ServeConfig

_BACKLOG = 2048  # connections that wait to be taken, as uvicorn has it


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(ServeConfig, argv, usage=__doc__)
    try:
        listening = listen(config.host, config.port)
    except OSError as error:
        return _failed(
            f"cannot listen on {config.host}:{config.port}: {error.strerror};"
            " give another --port, or --port=0 for any free one"
        )

    # After the options are known to be right: TensorFlow takes seconds.
    from planet_tf.data import data_dirs
    from planet_tf.model import model_dir

    try:
        serve(config, listening)
    except (model_dir.ModelDirError, data_dirs.DataError) as error:
        return _failed(str(error))
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to; they wait until it is served."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def serve(config: ServeConfig, listening: socket.socket) -> None:
    """Answers until SIGTERM or Ctrl-C."""
    import uvicorn

    from planet_tf.serving import asgi, loaded_model

    model = loaded_model.Model(config.model_dir, config.min_cell_km)
    _say("trying out the model")
    app = asgi.make(model, config)
    model.warm_up(app.desk.batcher.size)
    host, port = listening.getsockname()[:2]
    if asgi.is_open(config.host):
        _say(
            f"warning: whoever can reach {host}:{port} can have photos located;"
            " put it behind something that asks who they are"
        )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,  # what clients ask about is theirs
            server_header=False,
            timeout_graceful_shutdown=max(1, round(config.shutdown_seconds)),
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn takes them while it runs, ends in order, and would then die
        # by them; those that come before are not to be lost.
        signal.signal(number, server.handle_exit)
    # Pillow's, of what is odd in a photo: that is its owner's.
    warnings.filterwarnings("ignore", module="PIL")
    name = f"[{host}]" if ":" in host else host
    _say(f"ready: http://{name}:{port}/")
    server.run(sockets=[listening])


def _failed(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

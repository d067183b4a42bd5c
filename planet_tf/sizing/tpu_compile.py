"""StableHLO through the TPU's own compiler, on a machine without a TPU.

The package libtpu holds the compiler, jax the door to it; both are imported
here only, in a process of their own: TensorFlow and jax each bring an XLA and
LLVM, and the compiler wants the memory that TensorFlow would still hold.

python -m planet_tf.sizing.tpu_compile STEP.mlir v5e:2x2

prints the figures as JSON.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

PACKAGES = ("jax", "libtpu")
_TOPOLOGY = re.compile(r"(v4|v5e|v5p|v6e):(\d+(?:x\d+){1,2})")
_CORES_PER_CHIP = {"v4": 2, "v5e": 1, "v5p": 1, "v6e": 1}  # as libtpu counts
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class CompileError(RuntimeError):
    """The compiler is missing, or refused the topology or the program."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """What the compiler says of a program for one core; sizes in bytes.

    `too_large` is the compiler's message if the program did not fit; all
    figures but `needed` are then 0.
    """

    cores: int
    cores_per_chip: int
    device: str
    versions: dict[str, str]
    compile_seconds: float
    flops: float = 0
    bytes_accessed: float = 0
    arguments: int = 0
    temporaries: int = 0
    output: int = 0  # beside what takes the place of an argument
    code: int = 0
    needed: int = 0
    too_large: str = ""


def missing_packages() -> list[str]:
    """Those of jax and libtpu that are not installed."""
    return [p for p in PACKAGES if importlib.util.find_spec(p) is None]


def parse_topology(topology: str) -> tuple[str, int]:
    """Chip and number of cores of a name like v5e:2x2.

    Raises:
      CompileError: for any other name.
    """
    match = _TOPOLOGY.fullmatch(topology)
    if not match:
        raise CompileError(
            f"unknown topology {topology!r}; it is a chip and its grid, e.g."
            " v5e:2x2, v6e:4x4, v4:2x2x1, v5p:2x2x2"
        )
    chips = math.prod(int(n) for n in match[2].split("x"))
    return match[1], chips * _CORES_PER_CHIP[match[1]]


def accelerator_type(topology: str) -> str:
    """What Google Cloud calls a slice: by chips, or by cores of v4 and v5p."""
    chip, cores = parse_topology(topology)
    if chip == "v5e":
        return f"v5litepod-{cores}"
    return f"{chip}-{2 * cores if chip == 'v5p' else cores}"


def compile_in_child(stablehlo: str, topology: str) -> Figures:
    """Compiles a program for one core of a topology, in another process.

    Raises:
      CompileError: with the compiler's own words.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".mlir") as file:
        file.write(stablehlo)
        file.flush()
        child = subprocess.run(
            [sys.executable, "-m", __name__, file.name, topology],
            cwd=pathlib.Path(__file__).parents[2],  # where -m finds it
            env=os.environ | _environment(topology),
            capture_output=True,
            text=True,
        )
    if child.returncode:
        words = child.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CompileError(
            f"libtpu could not compile for {topology} (exit code"
            f" {child.returncode}): {words[0]}"
        )
    return Figures(**json.loads(child.stdout.splitlines()[-1]))


def compile_stablehlo(stablehlo: str, topology: str) -> Figures:
    """Compiles a program for one core; in a process without TensorFlow."""
    # Here, and not above: the parent process must not load them.
    import numpy as np
    from jax.experimental import topologies
    from jax.extend.mlir import ir
    from jax.interpreters import mlir
    from jaxlib import _jax

    devices = topologies.get_topology_desc(
        platform="tpu", topology_name=topology
    ).devices
    if len(devices) != parse_topology(topology)[1]:
        raise ValueError(f"{topology} has {len(devices)} cores for libtpu")
    options = _jax.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    options.device_assignment = _jax.DeviceAssignment.create(
        np.array([[devices[0].id]], np.int32)
    )
    begun = time.monotonic()
    error, compiled = "", None
    with mlir.make_ir_context() as context:
        context.allow_unregistered_dialects = True  # attributes of mhlo
        try:
            compiled = devices[0].client.compile(
                ir.Module.parse(without_copies(stablehlo)),
                _jax.DeviceList((devices[0],)),
                options,
            )
        except _jax.JaxRuntimeError as refused:
            error = str(refused)
            if "RESOURCE_EXHAUSTED" not in error:
                raise
    common: dict[str, Any] = {
        "cores": len(devices),
        "cores_per_chip": _CORES_PER_CHIP[parse_topology(topology)[0]],
        "device": devices[0].device_kind,
        "versions": {p: importlib.metadata.version(p) for p in PACKAGES},
        "compile_seconds": time.monotonic() - begun,
    }
    if compiled is None:
        return Figures(**common, needed=used_bytes(error), too_large=error)
    return _figures(compiled, common)


def without_copies(stablehlo: str) -> str:
    """The program without TensorFlow's `mhlo.copy`, which jax cannot read."""
    return stablehlo.replace("mhlo.copy", "stablehlo.optimization_barrier")


def used_bytes(message: str) -> int:
    """The memory a refused program wanted, or 0 if the refusal hides it."""
    match = re.search(r"\(([\d.]+)([KMGT])\) exceeds available", message)
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


def argument_bytes(stablehlo: str) -> int:
    """Bytes of a program's arguments before the TPU pads them to its tiles."""
    line = next(x for x in stablehlo.splitlines() if "func.func @main(" in x)
    types = re.findall(r"%arg\d+: tensor<((?:\d+x)*)[a-z]+(\d+)>", line)
    return (
        sum(
            math.prod(int(n) for n in shape.split("x")[:-1]) * max(8, int(bits))
            for shape, bits in types
        )
        // 8
    )


def _figures(compiled: Any, common: dict[str, Any]) -> Figures:
    memory = compiled.get_compiled_memory_stats()
    cost = compiled.cost_analysis()
    sizes = {
        "arguments": memory.argument_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
        # Variables are updated in place: that much is no memory of its own.
        "output": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        "code": memory.generated_code_size_in_bytes,
    }
    return Figures(
        **common,
        **sizes,
        needed=sum(sizes.values()),
        flops=cost["flops"],
        bytes_accessed=cost["bytes accessed"],
    )


def _environment(topology: str) -> dict[str, str]:
    return {
        "JAX_PLATFORMS": "cpu",  # no search for a TPU
        "TPU_SKIP_MDS_QUERY": "1",  # nor questions to Google Cloud's metadata
        "TPU_ACCELERATOR_TYPE": accelerator_type(topology),
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_LOG_DIR": "disabled",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # its lock is for devices
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Compiles a file; the parent process sets the environment."""
    _, path, topology = sys.argv if argv is None else argv
    with open(path, encoding="utf-8") as file:
        stablehlo = file.read()
    try:
        figures = compile_stablehlo(stablehlo, topology)
    except (RuntimeError, ValueError) as error:  # jax's and libtpu's own
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    print(json.dumps(dataclasses.asdict(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

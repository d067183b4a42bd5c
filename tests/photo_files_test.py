import io
import tarfile

import pyarrow as pa
import pyarrow.parquet
import pytest

from planet_tf.photos import manifests, photo_files
from planet_tf.photos.photo_files import PhotoFile
from planet_tf.photos.rejects import PhotoError, Reason, Reject


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "sub/notes.txt", "x[1].jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_of(items):
    return [item.photo_id for item in items]


def write_tar(path, files, cut=0):
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    if cut:
        path.write_bytes(path.read_bytes()[:cut])


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["b.jpg", "none.jpg"], ["b.jpg", "none.jpg"]),
        (["."], ["./a.PNG", "./b.jpg", "./sub/c.webp", "./x[1].jpg"]),
        (["sub", "sub/c.webp"], ["sub/c.webp"]),
        (["*.jpg"], ["b.jpg", "x[1].jpg"]),
        (["**/*.webp"], ["sub/c.webp"]),
        (["x[1].jpg"], ["x[1].jpg"]),
        (["*.gif"], ["*.gif"]),
        (["b.jpg", "a.PNG", "b.jpg"], ["b.jpg", "a.PNG"]),
        ([], []),
    ],
)
def test_files_are_found_by_name_directory_and_glob(tree, names, wanted):
    found = photo_files.find(names)
    assert found == [PhotoFile(name, name) for name in wanted]


def test_photos_of_a_tar_are_named_as_if_it_were_a_directory(tree):
    files = {
        "0001.jpg": b"first",
        "0001.json": b"{}",
        "deep/IMG.2024.JPG": b"second",
        "deep/IMG.2025.JPG": b"third",  # of one sample, for WebDataset
        "notes.txt": b"none",
    }
    write_tar(tree / "photos.tar", files)
    found = photo_files.find(["photos.tar"])
    assert names_of(found) == [
        "photos.tar/0001.jpg",
        "photos.tar/deep/IMG.2024.JPG",
        "photos.tar/deep/IMG.2025.JPG",
    ]
    assert [item.read() for item in found] == [b"first", b"second", b"third"]


@pytest.mark.parametrize(
    ("cut", "reason", "left"),
    [
        (3072, Reason.TRUNCATED_ARCHIVE, 3),  # without an end mark
        (2700, Reason.TRUNCATED_ARCHIVE, 2),  # within the last one's bytes
        (600, Reason.TRUNCATED_ARCHIVE, 0),
        (100, Reason.MALFORMED_ARCHIVE, 0),
    ],
)
def test_a_tar_that_is_cut_off_gives_what_is_before(tree, cut, reason, left):
    write_tar(tree / "a.tar", {f"{i}.jpg": b"x" * 500 for i in range(3)}, cut)
    *found, fault = photo_files.find(["a.tar"])
    assert isinstance(fault, Reject) and fault.reason == reason
    assert fault.id.startswith("a.tar")
    assert names_of(found) == [f"a.tar/{i}.jpg" for i in range(left)]


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        (
            "sub/m.csv",
            "photo_id,path,lat\n007,c.webp,x\n,../b.jpg,1\n",
            [("007", "sub/c.webp"), ("../b.jpg", "sub/../b.jpg")],
        ),
        (
            "m.csv",
            "\ufeffFilename;Other\r\nb.jpg;1\r\n",
            [("b.jpg", "b.jpg")],
        ),
        (
            "m.tsv",
            "id\timage\n1\tgs://bucket/x.jpg\n2\t/abs/y.jpg\n",
            [("1", "gs://bucket/x.jpg"), ("2", "/abs/y.jpg")],
        ),
    ],
)
def test_tables_name_photos_from_where_they_are(tree, name, text, wanted):
    (tree / name).write_text(text, newline="")
    found = photo_files.find([name])
    assert [(item.photo_id, item.path) for item in found] == wanted


def test_a_parquet_table_is_read_too(tree):
    table = pa.table({"photo_id": [1, 2], "path": ["b.jpg", "a.PNG"]})
    pa.parquet.write_table(table, tree / "m.parquet")
    found = photo_files.find([str(tree / "m.parquet")])
    assert names_of(found) == ["1", "2"]
    assert [item.read() for item in found] == [b"b.jpg", b"a.PNG"]


def test_rows_that_name_no_photo_are_rejected_by_their_number(tree):
    (tree / "m.csv").write_text("photo_id,path\nx,b.jpg\ny,\nz\n,\n")
    found = photo_files.find(["m.csv"])
    assert found[0] == PhotoFile("x", "b.jpg")
    reasons = {item.id: item.reason for item in found[1:]}
    assert reasons == {
        "y": Reason.MISSING_PATH,
        "m.csv:row 4": Reason.MALFORMED_ROW,
        "m.csv:row 5": Reason.MISSING_PATH,
    }


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("m.csv", "a,b\n1,2\n", "has no column for path. It has: a, b"),
        ("m.csv", "", "no line of names"),
        ("none.csv", None, "cannot read none.csv"),
        ("none.tar", None, "cannot read none.tar: No such file"),
        ("a.tar.gz", "", "unpack it to a plain .tar"),
        ("a.zip", "", "unpack it"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_a_cure(tree, name, text, says):
    if text is not None:
        (tree / name).write_text(text)
    with pytest.raises(manifests.SourceError, match=says):
        photo_files.find([name])


def test_sources_are_runs_of_images_and_each_file_of_many(tree):
    write_tar(tree / "b.tar", {})
    write_tar(tree / "a.tar", {})
    (tree / "m.csv").write_text("path\n")
    names = ["b.jpg", "a.PNG", "*.tar", "m.csv", "sub", "a.tar"]
    assert photo_files.sources(names) == [
        ["b.jpg", "a.PNG"],
        ["a.tar"],
        ["b.tar"],
        ["m.csv"],
        ["sub/c.webp"],
    ]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (PhotoFile("x", "none.jpg"), Reason.MISSING_FILE),
        (PhotoFile("x", "sub"), Reason.UNREADABLE_FILE),
        (PhotoFile("x", "a\0b.jpg"), Reason.UNREADABLE_FILE),
        (PhotoFile("x", "b.jpg", 2, 100), Reason.TRUNCATED_ARCHIVE),
    ],
)
def test_bytes_that_are_not_there_have_a_reason(tree, item, reason):
    with pytest.raises(PhotoError) as error:
        item.read()
    assert error.value.reason == reason


def test_a_part_of_a_file_is_read(tree):
    assert PhotoFile("x", "b.jpg", 2, 2).read() == b"jp"
    assert PhotoFile("x", "b.jpg", 2).read() == b"jpg"

import pytest

from planet_tf import photo_files


@pytest.fixture
def tree(tmp_path):
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "sub/notes.txt", "x[1].jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["b.jpg", "none.jpg"], ["b.jpg", "none.jpg"]),
        ([""], ["a.PNG", "b.jpg", "sub/c.webp", "x[1].jpg"]),
        (["sub", "sub/c.webp"], ["sub/c.webp"]),
        (["*.jpg"], ["b.jpg", "x[1].jpg"]),
        (["**/*.webp"], ["sub/c.webp"]),
        (["x[1].jpg"], ["x[1].jpg"]),
        (["*.gif"], ["*.gif"]),
        (["b.jpg", "a.PNG", "b.jpg"], ["b.jpg", "a.PNG"]),
    ],
)
def test_files_are_found_by_name_directory_and_glob(tree, names, wanted):
    found = photo_files.find([str(tree / name) for name in names])
    assert found == [str(tree / name) for name in wanted]

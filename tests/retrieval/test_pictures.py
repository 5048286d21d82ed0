"""Pictures in a library: found by a text and by a picture, synced like text, read under limits."""

import shutil
import struct
import zlib

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from chains.errors import UsageError
from chains.passages import SOURCE
from retrieval import Clip, Library, SyncReport
from retrieval.loaders import picture
from retrieval.parser import Limits, read
from retrieval.text import Unreadable
from tests.retrieval.clip_files import clip_folder, noise

TEXTS = ["a red ball", "the sea", "a very long sentence that has many more letters than this model reads"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture
def photos(tmp_path):
    """Five pictures, one of each kind, and a text among them."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    noise(1).save(folder / "one.png")
    noise(2, 300, 90).save(folder / "two.jpg", quality=95)
    noise(3, 40, 200).save(folder / "sub" / "three.webp", lossless=True)
    noise(4).save(folder / "four.gif")
    noise(5).convert("RGBA").save(folder / "FIVE.PNG")
    (folder / "pool.md").write_text("The pool opens at nine.")
    return folder


@pytest.fixture
def filled(tmp_path, counting, where, clip, photos):
    with Library(tmp_path / "library", counting, chroma=where, images=str(clip)) as library:
        assert library.sync(photos) == SyncReport(6, 0, 0, 0, [])
        yield library


def expected(clip, texts=(), files=()) -> torch.Tensor:
    """What transformers says of texts or of pictures, by its own calls alone; later versions give an output, earlier ones a tensor."""
    model = CLIPModel.from_pretrained(clip).eval()
    with torch.inference_mode():
        if texts:
            tokens = AutoTokenizer.from_pretrained(clip)(
                list(texts), padding=True, truncation=True, max_length=20, return_tensors="pt"
            )
            found = model.get_text_features(**tokens)
        else:
            images = [Image.open(file).convert("RGB") for file in files]
            found = model.get_image_features(**CLIPImageProcessorPil.from_pretrained(clip)(images, return_tensors="pt"))
    features = found if isinstance(found, torch.Tensor) else found.pooler_output
    return features / features.norm(dim=-1, keepdim=True)


def every(photos):
    return sorted(path for path in photos.rglob("*") if path.is_file() and path.suffix != ".md")


def test_vectors_are_those_that_transformers_gives(clip, photos):
    ours = Clip(str(clip))
    texts = torch.tensor(ours.embed_texts(TEXTS))
    torch.testing.assert_close(texts, expected(clip, texts=TEXTS))
    assert (texts[0] - texts[1]).abs().max() > 0.01
    pictures = torch.tensor(ours.embed_pictures([picture(file, ours.edge) for file in every(photos)]))
    torch.testing.assert_close(pictures, expected(clip, files=every(photos)))
    assert (pictures[0] - pictures[1]).abs().max() > 0.01


def test_a_text_finds_pictures_and_a_picture_finds_pictures(filled, clip, photos):
    files = every(photos)
    cosines = (expected(clip, texts=TEXTS[:1]) @ expected(clip, files=files).T)[0]
    order = [str(files[at].relative_to(photos)) for at in cosines.argsort(descending=True)]
    found = filled.pictures(TEXTS[0])
    assert [one.metadata[SOURCE] for one in found] == order
    assert [one.score for one in found] == pytest.approx(sorted(cosines.tolist(), reverse=True), abs=1e-5)
    assert (found[1].text, found[1].why) == ("", "image 2")
    noise(4).save(photos.parent / "again.png")
    (best,) = filled.pictures(like=photos.parent / "again.png", k=1)
    assert best.metadata[SOURCE] == "four.gif" and best.score > 0.99


def test_text_and_pictures_do_not_find_each_other(filled):
    assert [one.metadata[SOURCE] for one in filled.search("the pool one two four png", k=20)] == ["pool.md"]
    assert len(filled.pictures("pool", k=20)) == 5
    assert {key: filled.stats()[key] for key in ("sources", "passages", "embedded", "pictures")} == {
        "sources": 6, "passages": 1, "embedded": 1, "pictures": 5}  # fmt: skip


def test_what_has_not_changed_is_not_computed_again_and_the_model_is_remembered(
    tmp_path, filled, clip, photos, counting
):
    assert filled.sync(photos) == SyncReport(0, 0, 0, 6, [])
    (photos / "one.png").rename(photos / "uno.png")
    noise(7).save(photos / "two.jpg")
    (photos / "four.gif").unlink()
    shutil.copy(photos / "uno.png", photos / "copy.png")
    filled.close()
    with Library(filled.path, counting) as again:
        assert again.sync(photos) == SyncReport(1, 2, 1, 3, [])
        found = {one.metadata[SOURCE] for one in again.pictures("ball", k=9)}
        assert found == {"uno.png", "copy.png", "two.jpg", "sub/three.webp", "FIVE.PNG"}
        assert again.pictures(like=photos / "two.jpg", k=1)[0].score > 0.99
        again.rebuild()
        assert len(again.pictures("ball", k=9)) == 5 and again.verify() == 0


def test_lost_vectors_of_pictures_are_made_again(filled, photos):
    before = filled.pictures("ball")
    filled._pictures.vectors.drop()
    (photos / "one.png").unlink()
    assert filled.verify() == 5
    assert [one.metadata[SOURCE] for one in filled.pictures("ball")] == [
        one.metadata[SOURCE] for one in before if one.metadata[SOURCE] != "one.png"
    ]


def test_pictures_are_skipped_and_counted_where_no_model_is_named(tmp_path, counting, clip, photos):
    with Library(tmp_path / "library", counting) as library:
        assert library.sync(photos) == SyncReport(1, 0, 0, 0, [], skipped=5)
        with pytest.raises(
            UsageError, match=r"one.png is a picture, and the library has no image model; name a CLIP model"
        ):
            library.sync(photos / "one.png")
        with pytest.raises(UsageError, match="has no image model"):
            library.pictures("ball")
    with Library(tmp_path / "library", counting, images=str(clip)) as library:
        assert library.sync(photos) == SyncReport(5, 0, 0, 1, [])


def test_several_workers_read_pictures(tmp_path, counting, clip, photos):
    with Library(tmp_path / "library", counting, images=str(clip)) as library:
        assert library.sync(photos, workers=2).added == 6
        assert library.pictures(like=photos / "one.png", k=1)[0].metadata[SOURCE] == "one.png"


def test_another_image_model_and_what_is_none_are_refused(tmp_path, filled, counting, clip):
    other = clip_folder(tmp_path / "other", dimensions=8, seed=1)
    filled.close()
    with pytest.raises(UsageError, match=r"pictures have vectors of .*which do not compare"):
        Library(filled.path, counting, images=str(other))
    with pytest.raises(UsageError, match="there is no folder"):
        Library(tmp_path / "new", counting, images=str(tmp_path / "nothing" / "here"))


def test_a_model_of_another_kind_is_named(tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="is a model of the kind 'bert'"):
        Clip(str(tmp_path / "bert")).embed_texts(["x"])


@pytest.mark.parametrize(
    ("call", "message"),
    [({}, "give one of the two"), ({"query": "x", "like": "y.png"}, "give one of the two"), ({"query": "x", "k": 0}, "k is 0"),
     ({"like": "none.png"}, "none.png cannot be opened"), ({"like": "x.txt"}, "x.txt")],
)  # fmt: skip
def test_what_cannot_be_looked_for_is_refused(filled, call, message):
    with pytest.raises(UsageError, match=message):
        filled.pictures(**call)


def test_a_picture_stands_upright_and_of_a_long_one_the_middle_counts(tmp_path):
    image = noise(1, 60, 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    found = picture(tmp_path / "turned.png", 20)
    assert (found.width, found.height) == (20, 30)
    image.rotate(-90, expand=True).save(tmp_path / "upright.png")
    assert found == picture(tmp_path / "upright.png", 20)
    Image.new("RGB", (30_000, 2), "red").save(tmp_path / "long.png")
    assert picture(tmp_path / "long.png", 20).width == 400


def png(width: int, height: int, data: bytes, more: bytes = b"") -> bytes:
    """Return a PNG of grey pixels that says this size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "huge.png",
            lambda: png(50_000, 50_000, b"\0" * 10**7),
            "has more pixels, more than the 40 million|has 50000 × 50000 pixels",
        ),
        (
            "large.png",
            lambda: png(9_000, 9_000, b"\0" * 9001 * 9000),
            "has 9000 × 9000 pixels, more than the 40 million",
        ),
        ("short.png", lambda: png(600, 600, b"\0" * 99), "is damaged and could not be read"),
        ("text.png", lambda: b"no picture", "is no picture in PNG, JPEG, WebP or GIF, whatever its name says"),
        ("empty.gif", lambda: b"", "is empty"),
        ("svg.png", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no picture"),
        ("eps.jpg", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture"),
    ],
)
def test_bombs_and_what_is_no_picture_are_named(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content())
    with pytest.raises(Unreadable, match=reason):
        picture(tmp_path / name, 30)


def test_the_largest_picture_that_is_read_stays_within_the_limits(tmp_path):
    Image.new("RGBA", (8000, 5000), "red").save(tmp_path / "most.png")
    found = read(tmp_path / "most.png", Limits(), 224)
    assert found.picture is not None and (found.picture.width, found.picture.height) == (358, 224)
    assert found.cpu_s < 10 and found.peak_bytes < 500 * 10**6


def test_a_bad_picture_is_listed_and_the_rest_goes_in(filled, photos):
    (photos / "bomb.png").write_bytes(png(50_000, 50_000, b"\0" * 10**6))
    noise(9).save(photos / "nine.png")
    found = filled.sync(photos)
    assert (found.added, found.unchanged) == (1, 6)
    assert [path for path, _ in found.failed] == [str(photos / "bomb.png")]

"""Pictures of every format and mode, damaged ones, and bombs: the pixels that a browser shows, or a clear error."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from support.vision import noise, png

from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.images.decode import decode, upright
from gristmill.runtime.images.formats import MAX_BYTES
from gristmill.runtime.images.wire import Preparation

STRETCH = Preparation(size=8, filter="bilinear")
RED, GREEN = (255, 0, 0), (0, 255, 0)


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels(data):
    return np.asarray(upright(data))


def error_of(data):
    """What is said of ``data``; nothing where it is a picture."""
    try:
        upright(data)
    except InvalidRequest as error:
        return str(error)
    return ""


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_exact_formats_give_their_pixels(format, options):
    expected = noise(13, 7)
    assert (pixels(saved(Image.fromarray(expected), format, **options)) == expected).all()


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_come_close(format):
    smooth = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], (16, 24, 3))
    found = pixels(saved(Image.fromarray(np.ascontiguousarray(smooth)), format, quality=95))
    assert np.abs(found.astype(int) - smooth).mean() < 6


def test_of_an_animation_the_first_frame_counts():
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, GREEN)]
    for format in ("GIF", "WEBP", "PNG"):
        data = saved(frames[0], format, save_all=True, append_images=frames[1:])
        red, green, _ = pixels(data)[0, 0]
        assert red > 200 > 60 > green, format


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "RGB"])
def test_every_mode_becomes_three_colors(mode):
    base = Image.fromarray(noise(9, 5))
    image = base.convert("RGBA").convert("LA") if mode == "LA" else base.convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert (pixels(saved(image, "PNG")) == expected).all()


def test_sixteen_bits_keep_their_high_byte():
    deep = (np.arange(16, dtype=np.uint16) * 4096).reshape(4, 4)
    found = pixels(saved(Image.fromarray(deep), "PNG"))
    assert (found == (deep >> 8).astype(np.uint8)[..., None]).all()


def test_cmyk_becomes_rgb():
    found = pixels(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = found[0, 0]
    assert red > 180 > 100 > green
    assert blue < 100


def test_what_is_transparent_shows_white():
    clear = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert (pixels(saved(clear, "PNG")) == 255).all()
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert abs(int(pixels(saved(half, "PNG"))[0, 0, 0]) - 127) <= 1


def test_a_transparent_color_shows_white():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *GREEN])
    image.putdata([0, 1])
    assert pixels(saved(image, "PNG", transparency=0)).tolist() == [[[255, 255, 255], [0, 255, 0]]]
    grey = Image.new("L", (1, 1), 7)
    assert pixels(saved(grey, "PNG", transparency=7)).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_exif_says(orientation):
    from PIL import ImageOps

    image = Image.fromarray(noise(6, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(image, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert (pixels(data) == np.asarray(expected)).all()
    assert pixels(data).shape[:2] == ((6, 4) if orientation > 4 else (4, 6))


def test_broken_exif_says_nothing():
    data = saved(Image.fromarray(noise(6, 4)), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert pixels(data).shape == (4, 6, 3)


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"II*\0\x08\0\0\0", b"\0\0\1\0\1\0",
     b"8BPS\0\1", b"%!PS-Adobe-3.0 EPSF-3.0", b"\0\0\0\x18ftypmp42", b"RIFF\x10\0\0\0WAVE", b"\xd7\xcd\xc6\x9a"],
)  # fmt: skip
def test_what_is_no_picture_of_a_supported_format_is_refused(data):
    with pytest.raises(InvalidRequest, match="unsupported image format; supported: JPEG, PNG, WebP, GIF and BMP"):
        upright(data)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_file_cut_off_anywhere_is_an_error_or_a_picture(format):
    data = saved(Image.fromarray(noise(7, 5)), format)
    errors = [error for length in range(len(data)) if (error := error_of(data[:length]))]
    assert all("unsupported" in error or "damaged or cut off" in error for error in errors)
    assert len(errors) > len(data) * 0.8 - 30
    assert pixels(data + b"garbage").shape == (5, 7, 3)


def test_a_wrong_checksum_is_an_error():
    data = bytearray(png())
    data[30] ^= 1  # in the checksum of the header
    with pytest.raises(InvalidRequest, match="the PNG image is damaged or cut off"):
        upright(bytes(data))


def test_flipped_bytes_never_show_the_library():
    """Whatever goes wrong inside, our own words come out."""
    rng = np.random.default_rng(0)
    for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        whole = saved(Image.fromarray(noise(9, 9)), format)
        for _ in range(40):
            data = bytearray(whole)
            for at in rng.integers(0, len(data), 3):
                data[at] = rng.integers(0, 256)
            error = error_of(bytes(data))
            assert not error or error.startswith(("unsupported image", "the ", "an image of ")), error
            assert "object at" not in error


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (16_385, 1), (1, 16_385), (9000, 9000)])
def test_too_many_pixels_are_refused_by_the_header(width, height):
    with pytest.raises(InvalidRequest, match=f"an image of {width} x {height} pixels is over the limit"):
        upright(png_header(width, height) + chunk(b"IDAT", zlib.compress(b"")))


def test_text_and_profile_bombs_are_refused():
    for name in (b"zTXt", b"iCCP"):
        bomb = b"a\0\0" + zlib.compress(bytes(200 << 20), 9)
        data = png_header(2, 2) + chunk(name, bomb) + chunk(b"IDAT", zlib.compress(bytes(14))) + chunk(b"IEND", b"")
        assert "damaged" in error_of(data) or upright(data).size == (2, 2)  # a profile may be passed over


def test_too_many_bytes_are_refused():
    with pytest.raises(InvalidRequest, match="over the limit of 32 MiB"):
        upright(b"BM" + bytes(MAX_BYTES))


def test_text_in_a_picture_does_not_matter():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "hello" * 100)
    assert pixels(saved(Image.fromarray(noise(3, 3)), "PNG", pnginfo=info)).shape == (3, 3, 3)


# -- squares -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 50), (50, 1), (3, 3), (1, 10_000), (8, 8), (200, 31)])
@pytest.mark.parametrize("fit", ["stretch", "pad", "tiles"])
def test_pictures_of_any_shape_become_squares(width, height, fit):
    preparation = Preparation(size=8, filter="lanczos", fit=fit, longest_edge=24)
    picture = decode(png(width, height), preparation)
    assert len(picture.pixels) == 3 * 8 * 8 * picture.n_squares
    assert (picture.n_rows > 0) == (fit == "tiles")


def test_stretching_is_the_filter_that_is_asked_for():
    image = Image.fromarray(noise(20, 12))
    for name, resampling in (("bilinear", 2), ("bicubic", 3), ("lanczos", 1)):
        picture = decode(saved(image, "PNG"), Preparation(size=8, filter=name))
        assert picture.pixels == image.resize((8, 8), resampling).tobytes()


def test_padding_keeps_proportions():
    data = saved(Image.new("RGB", (8, 4), RED), "PNG")
    picture = decode(data, Preparation(size=8, filter="bicubic", fit="pad", fill=GREEN))
    rows = np.frombuffer(picture.pixels, np.uint8).reshape(8, 8, 3)
    assert (rows[2:6] == RED).all()
    assert (rows[:2] == GREEN).all()
    assert (rows[6:] == GREEN).all()


def test_tiles_come_row_by_row_and_the_whole_last():
    image = Image.fromarray(noise(48, 32))
    preparation = Preparation(size=16, filter="lanczos", fit="tiles", longest_edge=48)
    picture = decode(saved(image, "PNG"), preparation)
    assert (picture.n_rows, picture.n_cols) == (2, 3)
    squares = np.frombuffer(picture.pixels, np.uint8).reshape(7, 16, 16, 3)
    assert (squares[0] == np.asarray(image)[:16, :16]).all()
    assert (squares[1] == np.asarray(image)[:16, 16:32]).all()
    assert (squares[3] == np.asarray(image)[16:, :16]).all()
    assert squares[6].tobytes() == image.resize((16, 16), 1).tobytes()


def test_without_a_longest_edge_there_is_one_tile():
    picture = decode(png(48, 32), Preparation(size=16, filter="lanczos", fit="tiles"))
    assert (picture.n_rows, picture.n_cols, picture.n_squares) == (0, 0, 1)

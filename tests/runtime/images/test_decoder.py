"""Decoding in a process that can be killed."""

import pytest
from support.vision import png

from gristmill.runtime.errors import GristmillError, InvalidRequest
from gristmill.runtime.images import decoder as module
from gristmill.runtime.images.decode import decode
from gristmill.runtime.images.decoder import ImageDecoder
from gristmill.runtime.images.wire import Preparation

SMALL = Preparation(size=8, filter="bilinear")


@pytest.fixture
async def decoder():
    decoder = ImageDecoder()
    yield decoder
    await decoder.close()


async def test_pictures_come_back_as_the_model_wants_them(decoder):
    files = [png(20, 12, 1), png(5, 30, 2)]
    assert await decoder.prepare(files, SMALL) == [decode(data, SMALL) for data in files]
    assert await decoder.prepare([], SMALL) == []


async def test_an_error_names_the_image(decoder):
    with pytest.raises(InvalidRequest, match=r"images\[1\]: the PNG image is damaged or cut off"):
        await decoder.prepare([png(), png()[:-30]], SMALL)


async def test_a_decoder_that_dies_costs_one_request(decoder):
    await decoder.prepare([png()], SMALL)
    process = decoder._worker.process
    process.kill()
    await process.wait()
    assert len(await decoder.prepare([png()], SMALL)) == 1


async def test_one_that_takes_too_long_is_ended():
    decoder = ImageDecoder(timeout_s=1e-6)
    await decoder._worker.prewarm()
    with pytest.raises(InvalidRequest, match=r"images\[0\]: decoding takes more than 1e-06 s"):
        await decoder.prepare([png(2000, 2000)], SMALL)
    await decoder.close()


async def test_memory_is_limited():
    decoder = ImageDecoder(memory_bytes=200 << 20)
    with pytest.raises(InvalidRequest, match=r"images\[0\]: decoding failed, it may need too much memory"):
        await decoder.prepare([_flat(8000, 8000)], SMALL)
    await decoder.close()


async def test_all_pictures_of_a_request_are_limited(decoder, monkeypatch):
    monkeypatch.setattr(module, "MAX_PREPARED_BYTES", 300)
    with pytest.raises(InvalidRequest, match="2 images have more pixels"):
        await decoder.prepare([png(), png()], SMALL)


async def test_a_closed_decoder_refuses():
    decoder = ImageDecoder()
    await decoder.close()
    with pytest.raises(GristmillError, match="image decoder is closed"):
        await decoder.prepare([png()], SMALL)


def _flat(width, height):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()

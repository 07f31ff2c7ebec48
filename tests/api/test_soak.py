"""A short run of benchmarks/soak.py: real runner processes, impatient clients."""

from soak import Soak, service, tiny_models


async def test_the_service_stays_whole(tmp_path):
    files = tiny_models(tmp_path, 3)
    options = {"max_loaded_models": 2, "num_parallel": 3, "backend": "reference", "spare_runner": False}
    async with service(tmp_path / "models", files, **options) as (url, manager):
        result = await Soak(url, list(files), manager, seed=3).run(60, 12, seconds=60)
    assert result.problems == []
    assert result.ends["left"] > 3
    assert result.ends["stop"] + result.ends["length"] > 10

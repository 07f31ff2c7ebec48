"""Facts about a machine, read from made-up system files."""

from gristmill.api.cli import machine

CPUINFO = """\
processor\t: 0
model name\t: Example CPU @ 2.00GHz
flags\t\t: fpu sse2 avx2 fma f16c avx512f avx512_vnni

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""


def test_the_first_processor_is_described(tmp_path):
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    processor = machine.processor(tmp_path / "cpuinfo")
    assert processor == machine.Processor("Example CPU @ 2.00GHz", ("AVX2", "FMA", "F16C", "AVX-512", "AVX-512 VNNI"))


def test_a_system_without_these_files_is_no_error(tmp_path):
    assert machine.processor(tmp_path / "none").features == ()
    assert machine.memory(tmp_path / "none", tmp_path) is None
    assert machine.cores(tmp_path) >= 1


def test_a_quota_limits_the_cores(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cores(tmp_path) == machine.cores(tmp_path / "none")


def test_memory_is_what_system_and_control_group_leave(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 800 kB\n")
    assert machine.memory(tmp_path / "meminfo", tmp_path / "none") == machine.Memory(800 * 1024, 1000 * 1024)
    (tmp_path / "memory.max").write_text("512000\n")
    (tmp_path / "memory.current").write_text("500000\n")
    assert machine.memory(tmp_path / "meminfo", tmp_path) == machine.Memory(12_000, 512_000)


def test_a_folder_that_is_not_there_yet_is_where_it_would_be_made(tmp_path):
    assert machine.existing(tmp_path / "a" / "b") == tmp_path
    assert machine.free_disk(tmp_path / "a" / "b") > 0

"""Mutated texts, records and messages of all kinds are read, or refused on purpose; `make fuzz` reads a million."""

from tests.junk.mutate import readers, run


def test_whatever_is_read_is_read_or_refused_on_purpose(tmp_path):
    seen = run(20_000, 1, tmp_path / "root")
    names = {name.partition(":")[0] for name in seen}
    known = readers(tmp_path / "other")
    assert names == set(known)
    refused = {name for name in names if seen[f"{name}: refused"]}
    assert refused >= {name for name, reader in known.items() if reader.refuses}


def test_what_is_mutated_is_good_before(tmp_path):
    for name, reader in readers(tmp_path / "root").items():
        for good in reader.good:
            assert reader.read(good) is not None, name

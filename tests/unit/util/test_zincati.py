"""The id of a machine at a FleetLock server is that of Zincati."""

import pytest

from locksmith.util.zincati import zincati_id


def test_the_vector_of_zincati():
    assert zincati_id("1c09ca98649c4c7abc779cd04c96812e") == "978a225b3d7b40e9acd7ce9b62f68444"


@pytest.mark.parametrize("text", ["", "1c09ca98649c4c7abc779cd04c9681", "x" * 32, "1c09ca98649c4c7abc779cd04c96812e00"])
def test_what_is_no_machine_id_is_refused(text):
    with pytest.raises(ValueError, match="hex"):
        zincati_id(text)

import pytest
from chaos import chaos


@pytest.mark.long
def test_a_run_that_is_killed_ends_in_the_same_bytes(tmp_path):
    assert chaos(tmp_path, kills=3, short=True) == []

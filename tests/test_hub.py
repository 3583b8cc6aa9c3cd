import pytest

from mags_kit import hub


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch):
    """requests needs pysocks for SOCKS, httpx socksio; neither knows socks://, as desktops write it."""
    table = (
        ("ALL_PROXY", "socks5://127.0.0.1:9"), ("https_proxy", "socks5h://me:secret@127.0.0.1:9"),
        ("HTTP_PROXY", "socks5://127.0.0.1:9"), ("all_proxy", "socks://127.0.0.1:9/"),
        ("ALL_PROXY", "socks4://127.0.0.1:9"), ("HTTPS_PROXY", "http://127.0.0.1:9"),
    )  # fmt: skip
    wrong = []
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    for variable, proxy in table:
        with monkeypatch.context() as patch:
            for name in ("all_proxy", "http_proxy", "https_proxy"):
                patch.delenv(name, raising=False)
                patch.delenv(name.upper(), raising=False)
            patch.setenv("OFFLINE", "")
            patch.setenv(variable, proxy)
            with pytest.raises(ValueError) as error:
                hub.require(["a/model"])
        said = f"{variable.upper()} names a SOCKS proxy" if proxy.startswith("socks") else "does not answer"
        if said not in str(error.value) or "secret" in str(error.value):
            wrong.append((variable, proxy, str(error.value)))
    assert wrong == []

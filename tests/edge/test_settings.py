from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.edge.settings import SettingsRefused, load

GOOD: dict[str, str] = {
    "data_dir": '"data"',
    "bundle": '"bundle"',
    "trusted_keys": f'["{"ab" * 32}"]',
    "site_timezone": '"Europe/Berlin"',
    "ae_title": '"EDGE"',
    "allowed_ae_titles": '["PACS"]',
    "central_url": '"https://centre.example"',
}


def written(folder: Path, **changes: str | None) -> Path:
    values: dict[str, Any] = {**GOOD, **changes}
    path = folder / "edge.toml"
    path.write_text("".join(f"{k} = {v}\n" for k, v in values.items() if v is not None))
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(written(tmp_path, label_inbox='"labels"'))

    assert settings.data_dir == tmp_path / "data"
    assert settings.label_inbox == tmp_path / "labels"
    assert settings.addressed_to == "https://centre.example"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data_dir", None, "data_dir: Field required"),
        ("colour", '"red"', "colour: Extra inputs are not permitted"),
        ("trusted_keys", "[]", "trusted_keys: .*at least 1"),
        ("trusted_keys", '["xy"]', r"trusted_keys\.0: .*pattern"),
        ("signature_threshold", "2", "signature_threshold: no more than the trusted keys"),
        ("site_timezone", '"Middle/Earth"', "site_timezone: .*IANA time zone"),
        ("ae_title", '"A TITLE THAT IS TOO LONG"', "ae_title: .*pattern"),
        ("allowed_ae_titles", "[]", "allowed_ae_titles: .*at least 1"),
        ("port", "70000", "port: .*65535"),
        ("central_url", '"http://centre.example"', "central_url: .*https expected"),
        ("central_url", '"https://u:p@centre.example"', "central_url: .*an address such as"),
        ("query_url", '"ftp://pacs"', "query_url: .*an address such as"),
        ("query_url", '"https://u:p@pacs"', "query_url: .*an address such as"),
        ("query_retrieve", '"push"', "query_retrieve: .*'get' or 'move'"),
        (
            "query_authorization_file",
            '"f"',
            "query_authorization_file: expected only with an https",
        ),
        ("storescp_port", "11112", "storescp_port: a number other than 0 and that of port"),
        ("study_objects", "2", "study_objects: expected together with study_quiet_seconds"),
        ("upload_host", '"0.0.0.0"', "upload_host: another address than this machine's own"),
        ("upload_certificate", '"c"', "upload_certificate: expected together with upload_key"),
        ("upload_cameras", '{ a = { kind = "ear" } }', r"upload_cameras\.a\.kind: .*'fundus' or"),
        ("k", "5", "k: .*greater than or equal to 11"),
        ("minimum_n", "10", "minimum_n: .*greater than or equal to 20"),
        ("label_policies", '["Doe, Jane"]', r"label_policies\.0: .*pattern"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, field: str, value: str | None, message: str
) -> None:
    path = written(tmp_path, **{field: value})

    with pytest.raises(SettingsRefused, match=message):
        load(path)


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text("data_dir = \nport = 1\n")

    with pytest.raises(SettingsRefused, match="line 1"):
        load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match=r"edge\.toml: cannot be read"):
        load(tmp_path / "edge.toml")

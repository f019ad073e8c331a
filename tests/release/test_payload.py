"""Which files each package has, and where they go."""

from release import payload


def test_a_package_has_unit_policies_completions_and_alerts(tmp_path):
    payload.install(tmp_path)
    found = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        "usr/lib/systemd/system/locksmithd.service",
        "usr/share/dbus-1/system.d/org.locksmith1.conf",
        "usr/share/polkit-1/actions/org.locksmith1.policy",
        "usr/share/bash-completion/completions/locksmithctl",
        "usr/share/doc/locksmith/examples/grafana/dashboard.json",
        "usr/share/doc/locksmith/examples/prometheus/alerts.yml",
    } <= set(found)
    assert {path.stat().st_mode & 0o777 for path in found.values()} == {0o644}
    for target in payload.COMPLETIONS.values():
        assert "locksmithctl" in found[target].read_text()

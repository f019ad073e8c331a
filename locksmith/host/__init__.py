"""This machine: systemd, logind, D-Bus, and the files of locksmith."""

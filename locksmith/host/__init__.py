"""This machine: systemd, logind and the files of locksmith."""

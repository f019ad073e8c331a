"""What PyInstaller makes the self-contained build of."""

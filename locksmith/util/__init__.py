"""What knows nothing of reboots: JSON, text, time, certificates, limits and threads."""

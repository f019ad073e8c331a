"""When a reboot is allowed: calendars, windows, blackouts and splay. Pure: time is passed in."""

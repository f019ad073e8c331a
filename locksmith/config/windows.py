"""The windows of the configuration, put together and checked: docs/windows.md."""

from typing import Any

from locksmith.config import keys
from locksmith.config.calendars import CALENDARS
from locksmith.config.keys import Key
from locksmith.config.model import WindowSettings
from locksmith.config.sources import Setting, Settings
from locksmith.errors import UsageError
from locksmith.host.clock import local_zone
from locksmith.window.duration import format_duration
from locksmith.window.possible import longest_if_too_short
from locksmith.window.window import Window
from locksmith.window.window_set import WindowSet, union


def read_windows(settings: Settings, calendars: WindowSet) -> WindowSettings:
    """Give the windows that were set, with the events of the calendars.

    `UsageError`: they contradict each other, or leave no time for a reboot.
    """
    default = WindowSettings()
    original = _original_window(settings)
    for setting in _given(settings, keys.OPEN, keys.OPEN_CALENDARS, keys.USED_SETS):
        if original and setting.value:
            raise setting.refusal("excludes window.start: write that window as `START for LENGTH` into window.open")
    window = WindowSettings(
        own=WindowSet(
            original or settings.value(keys.OPEN, default.own.windows),
            settings.value(keys.BLACKOUTS, default.own.blackouts),
            settings.value(keys.ZONE, default.own.zone),
        ),
        calendars=calendars,
        open_calendars=settings.value(keys.OPEN_CALENDARS, default.open_calendars),
        blackout_calendars=settings.value(keys.BLACKOUT_CALENDARS, default.blackout_calendars),
        sets=settings.value(keys.USED_SETS, default.sets),
        known=settings.value(keys.WINDOW_SETS, default.known),
        least=settings.value(keys.LEAST, default.least),
        splay=settings.value(keys.SPLAY, default.splay),
        synced=settings.value(keys.SYNCED, default.synced),
    )
    _reboots_can_begin(settings, window)
    return window


def _original_window(settings: Settings) -> tuple[Window, ...]:
    settings.together(keys.START, keys.LENGTH)
    start, length = settings.value(keys.START, None), settings.value(keys.LENGTH, None)
    if start is None or length is None:
        return ()
    if not length:
        raise settings.by_name[keys.LENGTH.name].refusal(
            "is 0s: no reboot would ever begin in a window that lasts no time"
        )
    try:
        return (Window.of_original(start, length),)
    except UsageError as error:
        raise UsageError(f"{settings.by_name[keys.LENGTH.name].origin}: {error}") from None


def _reboots_can_begin(settings: Settings, window: WindowSettings) -> None:
    """Refuse windows in which no reboot could ever begin, if all of them are known here."""
    windows = union(window.of_file)
    if windows is None or window.stored:
        return
    longest = longest_if_too_short(windows, window.least, local_zone())
    if longest is None:
        return
    if longest and (setting := settings.of(keys.LEAST)):
        raise setting.refusal(
            f"is {format_duration(window.least)}, and no window is ever open for longer than "
            f"{format_duration(longest)}: no reboot would ever begin; make it shorter, or a window longer"
        )
    for setting in _given(settings, keys.OPEN, keys.START, keys.USED_SETS, keys.BLACKOUTS, *CALENDARS):
        raise setting.refusal(
            f"leaves no time for a reboot ({windows}): change a window or a blackout; to have none, strategy is 'off'"
        )


def _given(settings: Settings, *about: Key[Any]) -> list[Setting]:
    return [setting for key in about if (setting := settings.of(key)) is not None]

"""Why a reboot is needed: each module is one source of wishes."""

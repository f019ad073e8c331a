"""What a server has for the calls of FleetLock's clients, on a real etcd, without its HTTP."""

from contextlib import asynccontextmanager
from datetime import timedelta

from locksmith.config.model import Config
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.host.paths import Paths
from locksmith.server.desk import Desk


@asynccontextmanager
async def opened(settings, group, root, **served):
    """Open what a server has for its clients' calls."""
    config = Config(
        store=settings,
        server=ServerSettings(groups={group: ServedGroup(**served)}, hook_limit=timedelta(seconds=20)),
    )
    desk = Desk(config, Paths(root))
    try:
        yield desk
    finally:
        await desk.close()


def kind(refusal) -> str:
    return refusal.kind.value if refusal is not None else "granted"

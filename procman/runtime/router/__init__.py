"""What listens on the app's port and leases web dynos to requests."""

from procman.runtime.router.log import RouterLog
from procman.runtime.router.router import Router

__all__ = ["Router", "RouterLog"]

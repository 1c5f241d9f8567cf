"""HTTP: each handler reads a request, calls the service, and writes what it returns."""

from __future__ import annotations

from typing import Any

from palm_registry.handlers import accounts, clusters, components, live, nodes, output, pages

__all__ = ["ROUTES"]

_CLUSTER = r"api/clusters/(?P<key>[A-Za-z0-9_-]{1,64})"
_COMPONENT = rf"{_CLUSTER}/components/(?P<name>[A-Za-z0-9_-]{{1,64}})"
_NODE = rf"{_CLUSTER}/nodes/(?P<node>[A-Za-z0-9_-]{{1,64}})"
_NAME = r"(?P<name>[A-Za-z0-9_-]{1,64})"

#: Path, relative to wherever the registry is mounted, and its handler.
ROUTES: list[tuple[str, Any]] = [
    (r"", pages.Page),
    (r"health", pages.Health),
    (r"login", pages.Login),
    (r"logout", pages.Logout),
    (r"static/(?P<path>icon\.svg|page\.js|page\.css|panel\.js|panel\.css)", pages.Static),
    (r"api/schema/cluster\.json", clusters.FileSchema),
    (r"api/clusters", clusters.Clusters),
    (_CLUSTER, clusters.Cluster),
    (rf"{_CLUSTER}/reset", clusters.Reset),
    (rf"{_CLUSTER}/config", clusters.Config),
    (rf"{_CLUSTER}/config/check", clusters.ConfigCheck),
    (rf"{_CLUSTER}/status", clusters.Status),
    (rf"{_CLUSTER}/lease", clusters.Lease),
    (rf"{_CLUSTER}/components", components.Components),
    (_COMPONENT, components.Component),
    (rf"{_COMPONENT}/(?P<action>start|stop|restart|scale)", components.Action),
    (rf"{_CLUSTER}/nodes", nodes.Nodes),
    (_NODE, nodes.Node),
    (rf"{_NODE}/heartbeat", nodes.Heartbeat),
    (rf"{_CLUSTER}/output", output.Output),
    (rf"{_CLUSTER}/output/download", output.Download),
    (rf"{_CLUSTER}/events", output.Events),
    (rf"{_CLUSTER}/live", live.Live),
    (r"api/tokens", accounts.Tokens),
    (rf"api/tokens/{_NAME}", accounts.Token),
    (r"api/users", accounts.Users),
    (rf"api/users/{_NAME}", accounts.User),
    (r"api/audit", accounts.AuditList),
    (r".*", pages.Nothing),
]

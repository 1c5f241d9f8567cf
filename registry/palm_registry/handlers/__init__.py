"""HTTP: each handler reads a request, calls the service, and writes what it returns."""

from __future__ import annotations

from typing import Any

from palm_registry.handlers import (
    accounts,
    clusters,
    code,
    components,
    configs,
    document,
    keys,
    live,
    metrics,
    nodes,
    output,
    pages,
    registry,
)

__all__ = ["ROUTES"]

_CLUSTER = r"api/clusters/(?P<key>[A-Za-z0-9_-]{1,64})"
_COMPONENT = rf"{_CLUSTER}/components/(?P<name>[A-Za-z0-9_-]{{1,64}})"
_NODE = rf"{_CLUSTER}/nodes/(?P<node>[A-Za-z0-9_-]{{1,64}})"
_FILES = r"icon\.svg|page\.js|page\.css|panel\.js|panel\.css|docs\.js|docs\.css"
_NAME = r"(?P<name>[A-Za-z0-9_-]{1,64})"

#: Path, relative to wherever the registry is mounted, and its handler.
ROUTES: list[tuple[str, Any]] = [
    (r"", pages.Page),
    (r"health", pages.Health),
    (r"login", pages.Login),
    (r"logout", pages.Logout),
    (rf"static/(?P<path>{_FILES})", pages.Static),
    (r"metrics", metrics.Metrics),
    (r"openapi\.json", document.ApiDocument),
    (r"docs", document.ApiPage),
    (r"api/registry", registry.Info),
    (r"api/registry/restart", registry.Restart),
    (r"api/registry/backup", registry.Backup),
    (r"api/schema/cluster\.json", configs.FileSchema),
    (r"api/clusters", clusters.Clusters),
    (_CLUSTER, clusters.Cluster),
    (rf"{_CLUSTER}/reset", clusters.Reset),
    (rf"{_CLUSTER}/config", configs.Config),
    (rf"{_CLUSTER}/config/check", configs.Check),
    (rf"{_CLUSTER}/config/diff", configs.Diff),
    (rf"{_CLUSTER}/config/rollback", configs.Rollback),
    (rf"{_CLUSTER}/config/versions", configs.Versions),
    (rf"{_CLUSTER}/config/versions/(?P<number>\d{{1,18}})", configs.Version),
    (rf"{_CLUSTER}/code", code.Code),
    (rf"{_CLUSTER}/code/(?P<digest>[0-9a-f]{{64}})", code.CodeFile),
    (rf"{_CLUSTER}/status", clusters.Status),
    (rf"{_CLUSTER}/lease", clusters.Lease),
    (rf"{_CLUSTER}/components", components.Components),
    (_COMPONENT, components.Component),
    (rf"{_COMPONENT}/(?P<action>start|stop|restart|scale)", components.Action),
    (rf"{_COMPONENT}/signal", components.Signal),
    (rf"{_CLUSTER}/nodes", nodes.Nodes),
    (_NODE, nodes.Node),
    (rf"{_NODE}/heartbeat", nodes.Heartbeat),
    (rf"{_NODE}/token", nodes.NodeToken),
    (rf"{_CLUSTER}/invitations", nodes.Invitations),
    (r"api/join", nodes.Join),
    (rf"{_NODE}/metrics", metrics.NodeMetrics),
    (rf"{_CLUSTER}/metrics", metrics.ClusterMetrics),
    (rf"{_CLUSTER}/names", keys.Names),
    (rf"{_CLUSTER}/keys", keys.Keys),
    (rf"{_CLUSTER}/keys/(?P<role>client|worker)", keys.RoleKey),
    (rf"{_CLUSTER}/output", output.Output),
    (rf"{_CLUSTER}/output/download", output.Download),
    (rf"{_CLUSTER}/events", output.Events),
    (rf"{_CLUSTER}/live", live.Live),
    (r"api/caller", accounts.Caller),
    (r"api/tokens", accounts.Tokens),
    (rf"api/tokens/{_NAME}", accounts.Token),
    (r"api/users", accounts.Users),
    (rf"api/users/{_NAME}", accounts.User),
    (r"api/audit", accounts.AuditList),
    (r".*", pages.Nothing),
]
